// The one Python of a page: its cells share names, and a cell that must stop takes all of it down.

let current;

/** The page's session; a new one where the last belonged to another page. */
export function session(worker, index) {
  if (current?.page !== location.pathname) {
    current?.end();
    current = new Session(worker, index);
  }
  return current;
}

class Session {
  cells = new Set();
  page = location.pathname;
  runs = 0; // finished or cut short, in this Python and those before it

  constructor(address, index) {
    this.address = address;
    this.index = index;
  }

  get busy() {
    return Boolean(this.listener);
  }

  /** Run the source; `tell(type, words)` hears of everything up to an end: done, stopped, late or broken. */
  run(source, limit, tell) {
    this.listener = tell;
    this.limit = limit;
    const afresh = !this.worker && this.runs > 0;
    this.runs += 1;
    if (!this.worker) this.#start();
    tell('begun', {afresh});
    this.worker.postMessage({type: 'run', source});
  }

  /** End Python at once; what ran is told why. */
  end(type = 'stopped', words = {}) {
    this.worker?.terminate();
    this.worker = null;
    this.#finish(type, words);
  }

  leave(cell) {
    this.cells.delete(cell);
    if (!this.cells.size) this.end();
  }

  #start() {
    this.worker = new Worker(this.address, {type: 'module', name: 'Python'});
    this.worker.onmessage = ({data: {type, ...words}}) => this.#hear(type, words);
    this.worker.onerror = event => {
      event.preventDefault();
      this.end('broken', {reason: event.message || 'the script for it could not be loaded'});
    };
    this.worker.postMessage({type: 'start', index: this.index});
  }

  #hear(type, words) {
    if (type === 'broken') this.end(type, words);
    else if (type === 'done') this.#finish(type, words);
    else {
      if (type === 'running') this.timer = setTimeout(() => this.end('late', {limit: this.limit}), this.limit * 1000);
      this.listener?.(type, words);
    }
  }

  #finish(type, words) {
    clearTimeout(this.timer);
    const tell = this.listener;
    this.listener = null;
    tell?.(type, words);
  }
}
