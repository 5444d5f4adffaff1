// An exercise: a cell whose run is followed by a check and a verdict. That it is solved stays known on this device alone.

import {Cell as Plain, spent} from './cell.js';

const GAP = '...';

export class Cell extends Plain {
  constructor(element, worker) {
    super(element, worker);
    this.check = element.getAttribute('check');
    this.solved = element.closest('.moe-exercise').querySelector('.moe-exercise__solved');
    this.key = `moedocs.solved.${element.getAttribute('exercise')}`;
    this.solved.hidden = !remembered(this.key);
  }

  /** What is missing is selected: whoever comes by keyboard types it at once. */
  open() {
    return (this.opened ??= super.open().then(() => this.editor?.select(GAP)));
  }

  task() {
    return {...super.task(), exercise: this.check};
  }

  done({outcome: {error, verdict}, seconds}) {
    const right = Boolean(verdict?.right);
    const told = error ? {says: sentence(error)} : verdict;
    this.output.place.prepend(box(right, told));
    this.output.end(right ? 'done' : 'wrong', `Checked in ${spent(seconds)}.`);
    if (error) this.mark(error.line);
    if (!right) return;
    this.solved.hidden = false;
    remember(this.key);
  }
}

function box(right, {says, because, count}) {
  const verdict = Object.assign(document.createElement('div'), {className: `moe-verdict is-${right ? 'right' : 'wrong'}`});
  const first = document.createElement('p');
  const word = Object.assign(document.createElement('strong'), {textContent: right ? 'Right:' : 'Not yet:'});
  first.append(word, ' ', ...coded(says));
  verdict.append(first);
  for (const text of [because, count].filter(Boolean)) {
    const line = document.createElement('p');
    line.append(...coded(text));
    verdict.append(line);
  }
  return verdict;
}

/** `names` between ticks become code. */
const coded = text =>
  text.split('`').map((part, index) => (index % 2 ? Object.assign(document.createElement('code'), {textContent: part}) : part));

function sentence({line, code, reason}) {
  const [why, ...where] = reason.split('\n');
  const place = line ? `line ${line}${code ? `, \`${code}\`,` : ''} stops with ` : '';
  return `${place}${why}${where.length ? `, ${where.join(' ')}` : ''}.`;
}

// Storage may be switched off, or full: then an exercise is solved for this visit only.

function remembered(key) {
  try {
    return localStorage.getItem(key) !== null;
  } catch {
    return false;
  }
}

function remember(key) {
  try {
    localStorage.setItem(key, 'yes');
  } catch {}
}
