// A cell: the reader's code, its buttons, and what became of the last run.

import {Output} from './output.js';
import {session} from './session.js';

const LIMIT = 30; // seconds a run may take once Python is there

export class Cell {
  constructor(element, worker) {
    this.element = element;
    this.place = element.querySelector('.moe-cell__code');
    this.original = this.place.querySelector('code').textContent.replace(/\n$/, '');
    this.output = new Output(element);
    this.buttons = Object.fromEntries([...element.querySelectorAll('button')].map(button => [button.dataset.do, button]));
    this.session = session(worker, element.base);
    this.session.users.add(this);
    this.#numberLines();
    this.#listen();
    this.#show();
  }

  get source() {
    return this.editor ? this.editor.text() : this.original;
  }

  /** Put the editor in the place of the code. */
  open() {
    return (this.opening ??= import('./editor.js').then(({Editor}) => {
      if (this.gone) return;
      this.editor = new Editor(this.place, this.original, {run: () => this.run(), changed: () => this.#show()});
    }));
  }

  run() {
    if (this.session.busy) {
      if (!this.running) this.output.say('Another cell of this page is running; it comes first.');
      return;
    }
    this.running = true;
    this.editor?.mark(null);
    this.output.begin();
    this.session.run(this.task(), Number(this.element.getAttribute('limit') ?? LIMIT), (type, words) => this.#hear(type, words));
    this.#show();
  }

  task() {
    return {type: 'run', source: this.source};
  }

  stop() {
    if (this.running) this.session.end();
  }

  reset() {
    this.stop();
    this.editor?.put(this.original);
    this.output.restore();
    this.#figure()?.restore();
    this.#show();
  }

  leave() {
    this.gone = true;
    this.session.leave(this);
    this.editor?.leave();
  }

  #listen() {
    this.place.addEventListener('focusin', () => this.open());
    this.place.addEventListener('click', async ({clientX: x, clientY: y}) => {
      if (this.editor || getSelection().toString()) return;
      await this.open();
      this.editor?.focus({x, y});
    });
    this.element.querySelector('.moe-cell__bar').addEventListener('click', event => {
      const what = event.target.closest('button')?.dataset.do;
      if (what) this[what]();
    });
  }

  #hear(type, words) {
    if (this.gone) return;
    if (type === 'begun') this.output.loading(words.afresh);
    else if (type === 'progress') this.output.progress(words);
    else if (type === 'ready') this.output.say('Starting NumPy…');
    else if (type === 'running') this.output.run();
    else if (type === 'print') this.output.print(words);
    else this.#end(type, words);
  }

  #end(type, words) {
    this.running = false;
    if (type === 'done') this.done(words);
    const afresh = 'The next run starts Python afresh.';
    if (type === 'stopped') this.output.end('stopped', 'Stopped.', `Stopped. ${afresh}`);
    if (type === 'late') {
      const late = `Stopped after ${words.limit} s, the limit for a run.`;
      this.output.end('stopped', late, `${late} ${afresh}`);
    }
    if (type === 'broken') this.output.end('error', 'Python could not go on.', `Python could not go on: ${words.reason}`);
    this.#show();
  }

  async done({outcome, seconds}) {
    const {value, error, table, refused} = outcome;
    if (error) this.output.error(error);
    else this.output.value(value);
    const state = error ? 'Ended with an error' : 'Done';
    this.output.end(error ? 'error' : 'done', `${state} after ${spent(seconds)}.`, this.output.isEmpty ? 'It printed nothing.' : '');
    if (error) this.mark(error.line);
    if (refused) this.output.note(`\`table\` was not drawn: ${refused}.`);
    if (table) await this.#draw(table);
  }

  /** Show the line where an error lies. */
  mark(line) {
    this.open().then(() => this.editor?.mark(line));
  }

  async #draw(table) {
    try {
      const lacking = await this.#figure()?.setRows(table);
      if (!lacking) return;
      this.output.note(
        lacking.length
          ? `The figure shows what it can of your table, which has no ${lacking.join(', ')}.`
          : 'The figure shows your result. Its Reset brings the recorded one back.',
      );
    } catch (error) {
      this.output.note(`The figure could not draw \`table\`: ${error.message}`);
    }
  }

  #figure() {
    const name = this.element.getAttribute('for');
    return name ? document.getElementById(name) : null;
  }

  #show() {
    const {run, stop, reset} = this.buttons;
    run.disabled = false;
    run.setAttribute('aria-disabled', String(Boolean(this.running)));
    stop.disabled = !this.running;
    reset.disabled = this.source === this.original && this.output.recordedShown;
  }

  /** The numbers that the editor will show, in the room that it will take: nothing moves when it comes. */
  #numberLines() {
    const numbers = document.createElement('span');
    numbers.className = 'moe-cell__numbers';
    numbers.setAttribute('aria-hidden', 'true');
    numbers.textContent = this.original.split('\n').map((_, index) => index + 1).join('\n');
    this.place.querySelector('pre').append(numbers);
  }
}

export const spent = seconds => (seconds < 0.095 ? `${Math.max(1, Math.round(seconds * 1000))} ms` : `${seconds.toFixed(1)} s`);
