// The data table under a figure: the rows of what it stands at, once a reader has moved it and has the table open.

const MOST = 60; // rows, as the page itself shows

export class Below {
  constructor(root) {
    this.words = root.querySelector('p span');
    this.table = root.querySelector('table');
    this.parts = [this.words, ...(this.table?.children ?? [])];
    this.original = this.parts.map(part => part.innerHTML);
    root.addEventListener('toggle', () => this.#show());
    this.root = root;
  }

  /** Show what `of` these rows belongs to these values; with an empty `of`, what the page opened with. */
  follow(rows, values, of) {
    this.next = {rows, values, of};
    this.#show();
  }

  #show() {
    if (!this.next || !this.root.open || !this.table) return;
    const {rows, values, of} = this.next;
    this.next = null;
    if (!of) this.parts.forEach((part, place) => (part.innerHTML = this.original[place]));
    else this.#fill(rows, fitting(rows, values), of);
  }

  #fill(rows, found, of) {
    const count = Math.min(MOST, found.length).toLocaleString('en');
    const all = rows.length.toLocaleString('en');
    this.words.textContent = `${count} of ${all} rows, ${found.length > MOST ? 'the first' : 'those'} of ${of}`;
    const columns = Object.keys(rows[0]);
    const cells = (kind, texts) => texts.map(text => Object.assign(document.createElement(kind), {textContent: text}));
    const heads = cells('th', columns.map(column => column.replaceAll('_', ' ')));
    heads.forEach(head => (head.scope = 'col'));
    this.table.tHead.replaceChildren(line(heads));
    const shown = found.slice(0, MOST).map(row => line(cells('td', columns.map(column => row[column] ?? ''))));
    this.table.tBodies[0].replaceChildren(...shown);
  }
}

/** The rows that have the value of every parameter that is a column and occurs in it, or nothing there: such a row
 *  belongs to all its values. */
function fitting(rows, values) {
  const chosen = Object.entries(values).filter(([name, value]) => rows.some(row => row[name] === value));
  return rows.filter(row => chosen.every(([name, value]) => (row[name] ?? value) === value));
}

function line(cells) {
  const row = document.createElement('tr');
  row.append(...cells);
  return row;
}
