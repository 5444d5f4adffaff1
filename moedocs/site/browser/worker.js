// Python for one page, away from the page's own thread: it runs cells and counts models. It ends when the page says so.

import checker from './checker.py';
import desk from './desk.py';
import runner from './runner.py';

let pyodide;
let run; // (source, namespace, send, check) -> JSON, the function of runner.py
let checking; // (JSON, source) -> the check of an exercise, the function of checker.py
let answer; // JSON -> JSON, the function of desk.py
let namespace;

const say = (type, words = {}) => postMessage({type, ...words});

let before = Promise.resolve(); // a run that is asked for while Python loads waits for it

onmessage = ({data}) => {
  before = before
    .then(() => TASKS[data.type](data))
    .catch(error => say('broken', {reason: String(error?.message ?? error)}));
};

/** `packages` are those of the lock to load, `size` is the name that sizes.json has for such a start. */
async function start({index, packages: names, size}) {
  const [lock, sizes] = await Promise.all(['pyodide-lock.json', 'sizes.json'].map(name => json(index + name)));
  const packages = names.map(name => lock.packages[name]);
  // all at once: left to itself, Pyodide asks for one thing after another
  const wanted = ['pyodide.asm.wasm', 'python_stdlib.zip', ...packages.map(one => one.file_name)];
  fetchAhead(wanted.map(name => index + name), progress(wanted, sizes.files, sizes[size]));
  const {loadPyodide} = await import(`${index}pyodide.mjs`);
  pyodide = await loadPyodide({
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
  say('ready');
}

/** The function of that name in a program. */
function loaded(program, filename, name) {
  const names = empty();
  names.set('__name__', '__main__'); // a module that there is: dataclasses look it up
  pyodide.runPython(program, {globals: names, filename});
  return names.get(name);
}

function count({request}) {
  say('running');
  answer ??= loaded(desk, 'desk.py', 'answer');
  say('done', {outcome: JSON.parse(answer(JSON.stringify(request)))});
}

/** Cells share their names; an exercise has names of its own each time, and a check that is given them. */
function runCell({source, exercise}) {
  run ??= loaded(runner, 'runner.py', 'run');
  say('running');
  const started = performance.now();
  const send = (text, lines, characters) => say('print', {text, lines, characters});
  const outcome = JSON.parse(exercise ? checked(source, exercise, send) : run(source, (namespace ??= empty()), send));
  say('done', {outcome, seconds: (performance.now() - started) / 1000});
}

function checked(source, exercise, send) {
  checking ??= loaded(checker, 'checker.py', 'checking');
  return run(source, empty(), send, checking(exercise, source));
}

const empty = () => pyodide.globals.get('dict')();

const TASKS = {start, run: runCell, count};

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
function progress(names, files, whole) {
  const total = names.reduce((sum, name) => sum + files[name].bytes, 0);
  let come = 0;
  let told = 0;
  return bytes => {
    come += bytes;
    if (come < total && performance.now() - told < 100) return;
    told = performance.now();
    say('progress', {loaded: (come / total) * whole, total: whole});
  };
}

async function json(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address.split('/').at(-1)} could not be downloaded`);
  return answer.json();
}
