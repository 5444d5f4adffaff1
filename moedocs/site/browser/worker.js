// Python for the cells of one page, away from the page's own thread. It ends when the page says so.

import runner from './runner.py';

let run; // (source, namespace, send) -> JSON, the function of runner.py
let namespace;

const say = (type, words = {}) => postMessage({type, ...words});

let before = Promise.resolve(); // a run that is asked for while Python loads waits for it

onmessage = ({data}) => {
  before = before
    .then(() => (data.type === 'start' ? start(data.index) : runCell(data.source)))
    .catch(error => say('broken', {reason: String(error?.message ?? error)}));
};

async function start(index) {
  const [lock, sizes] = await Promise.all(['pyodide-lock.json', 'sizes.json'].map(name => json(index + name)));
  const packages = Object.values(lock.packages);
  // all at once: left to itself, Pyodide asks for one thing after another
  const wanted = ['pyodide.asm.wasm', 'python_stdlib.zip', ...packages.map(one => one.file_name)];
  fetchAhead(wanted.map(name => index + name), progress(wanted, sizes));
  const {loadPyodide} = await import(`${index}pyodide.mjs`);
  const pyodide = await loadPyodide({
    indexURL: index,
    packageBaseUrl: index, // never its public address
    lockFileContents: lock,
    env: {PYTHONDONTWRITEBYTECODE: '1'},
    stdin: () => null, // nobody answers here: `input()` raises EOFError
  });
  const problems = [];
  await pyodide.loadPackage(packages.map(one => one.name), {
    messageCallback: () => {},
    errorCallback: problem => problems.push(problem),
  });
  if (problems.length) throw new Error(problems.join(' '));
  const names = pyodide.globals.get('dict')();
  pyodide.runPython(runner, {globals: names, filename: 'runner.py'});
  run = names.get('run');
  namespace = pyodide.globals.get('dict')();
  say('ready');
}

function runCell(source) {
  say('running');
  const started = performance.now();
  const send = (text, lines, characters) => say('print', {text, lines, characters});
  const outcome = JSON.parse(run(source, namespace, send));
  say('done', {outcome, seconds: (performance.now() - started) / 1000});
}

/** Begin these downloads; Pyodide's own requests for them get what was begun. One that fails ends it all. */
function fetchAhead(addresses, count) {
  const fetchNow = fetch;
  const begun = new Map(addresses.map(address => [address, fetchNow(address).then(answer => counted(answer, count))]));
  globalThis.fetch = (what, options) => begun.get(String(what?.url ?? what)) ?? fetchNow(what, options);
  for (const [address, answer] of begun) {
    answer.catch(() => say('broken', {reason: `${address.split('/').at(-1)} could not be downloaded`}));
  }
}

function counted(answer, count) {
  if (!answer.ok) throw new Error(answer.status);
  const counter = new TransformStream({
    transform(chunk, controller) {
      count(chunk.byteLength);
      controller.enqueue(chunk);
    },
  });
  return new Response(answer.body.pipeThrough(counter), {headers: answer.headers});
}

/** Tells the share of bytes that have come, in bytes as a first run counts them (compressed on their way). */
function progress(names, sizes) {
  const total = names.reduce((sum, name) => sum + sizes.files[name].bytes, 0);
  let come = 0;
  let told = 0;
  return bytes => {
    come += bytes;
    if (come < total && performance.now() - told < 100) return;
    told = performance.now();
    say('progress', {loaded: (come / total) * sizes.first_run, total: sizes.first_run});
  };
}

async function json(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address.split('/').at(-1)} could not be downloaded`);
  return answer.json();
}
