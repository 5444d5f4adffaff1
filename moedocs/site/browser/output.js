// What a run says: the state beside the buttons, and below it prints, value, error and notes.

export class Output {
  constructor(cell) {
    this.cell = cell;
    this.state = cell.querySelector('.moe-cell__note');
    this.place = cell.querySelector('.moe-cell__output');
    this.recorded = this.place.innerHTML;
    this.invitation = this.state.textContent;
    this.recordedShown = true;
    this.bar = Object.assign(document.createElement('progress'), {className: 'moe-cell__progress', hidden: true});
    this.bar.setAttribute('aria-label', 'Download');
    this.state.after(this.bar);
  }

  /** An empty page of the height that the last output had, so that nothing jumps while the run fills it. */
  begin() {
    this.place.style.minHeight = `${this.place.offsetHeight}px`;
    this.place.setAttribute('aria-busy', 'true'); // told when it is complete, not line by line
    this.place.replaceChildren();
    this.recordedShown = false;
    this.printed = this.cut = null;
    this.#become('loading');
  }

  loading(afresh) {
    this.say('Starting Python…');
    if (afresh) this.note('Python was started afresh: names from earlier runs are gone.');
  }

  progress({loaded, total}) {
    const mega = bytes => (bytes / 1e6).toFixed(1);
    Object.assign(this.bar, {hidden: loaded >= total, max: total, value: loaded});
    if (loaded < total) this.say(`Downloading Python and NumPy: ${mega(loaded)} of ${mega(total)} MB`);
    else this.say('Starting Python…');
  }

  run() {
    this.#become('running');
    this.say('Running…');
    const started = performance.now();
    this.clock = setInterval(() => this.say(`Running… ${Math.round((performance.now() - started) / 1000)} s`), 1000);
  }

  print({text, lines, characters}) {
    if (text) {
      this.printed ??= this.#block('moe-cell__printed', 'Printed by the cell');
      this.printed.append(text);
    }
    if (!characters) return;
    this.cut ??= this.note('');
    const more = lines ? `${count(lines)} more line${lines === 1 ? '' : 's'}` : `${count(characters)} more characters`;
    this.cut.textContent = `${more} not shown: a run may print 200 lines or 20,000 characters.`;
  }

  value(text) {
    if (text !== null) this.#block('moe-cell__value', 'Value of the last expression').append(text);
  }

  error({line, code, reason}) {
    const box = document.createElement('div');
    box.className = 'moe-cell__error';
    const where = document.createElement('p');
    where.textContent = line ? `Line ${line}` : 'Error';
    box.append(where);
    if (code) box.append(Object.assign(document.createElement('code'), {textContent: code}));
    box.append(Object.assign(document.createElement('p'), {className: 'moe-cell__reason', textContent: reason}));
    this.place.append(box);
  }

  note(text) {
    const line = Object.assign(document.createElement('p'), {className: 'moe-cell__remark', textContent: text});
    this.place.append(line);
    return line;
  }

  get isEmpty() {
    return !this.place.textContent;
  }

  /** The state in one line, beside the buttons. */
  say(text) {
    this.state.textContent = text;
  }

  /** The run is over; `remark` goes below what it left, where those who listen are told of it too. */
  end(state, text, remark = '') {
    this.#become(state);
    this.say(text);
    if (remark) this.note(remark);
    this.place.style.minHeight = '';
    this.place.removeAttribute('aria-busy');
  }

  restore() {
    this.#become('');
    this.place.innerHTML = this.recorded;
    this.place.style.minHeight = '';
    this.say(this.invitation);
    this.recordedShown = true;
  }

  #become(state) {
    clearInterval(this.clock);
    this.bar.hidden = true;
    this.cell.dataset.state = state;
  }

  #block(kind, label) {
    const block = document.createElement('pre');
    block.className = kind;
    block.tabIndex = 0; // it may scroll sideways
    block.setAttribute('role', 'region');
    block.setAttribute('aria-label', label);
    this.place.append(block);
    return block;
  }
}

const count = number => number.toLocaleString('en');
