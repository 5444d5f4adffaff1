// Entry of every page: two custom elements. What they do is loaded when a reader comes near one.

const WORKER = new URL('./worker.js', import.meta.url).href;

const near = new IntersectionObserver(
  entries => entries.filter(entry => entry.isIntersecting).forEach(entry => entry.target.wake()),
  {rootMargin: '500px 0px'},
);

const STILL = 8000; // ms after which a reader who does nothing, one who listens perhaps, finds all in view alive, too

/** The reader's first sign: until then the page is read, and what the scripts bring would only keep it from that. */
const sign = new Promise(resolve => {
  const once = {once: true, passive: true, capture: true};
  for (const event of ['scroll', 'pointermove', 'pointerdown', 'keydown']) addEventListener(event, resolve, once);
  addEventListener('load', () => setTimeout(resolve, STILL), once);
});

/** An element that stays plain HTML until it is touched, focused or named in the address, or near the viewport of a
 *  reader who has given a sign; and again once it has left. */
class Sleeping extends HTMLElement {
  connectedCallback() {
    // resolved now: the address changes when the reader moves on to another page
    this.base = new URL(this.getAttribute('src') ?? '', document.baseURI).href;
    for (const event of ['pointerdown', 'focusin']) this.addEventListener(event, this.wake);
    if (!navigator.connection?.saveData) sign.then(() => this.isConnected && !this.awake && near.observe(this));
    const parts = location.search.slice(1).split('&');
    if (this.id && parts.some(part => part.startsWith(`${this.id}.`))) this.wake(); // it opened at something else
  }

  disconnectedCallback() {
    near.unobserve(this);
    this.awake?.then(life => life?.leave());
    this.awake = null;
  }

  /** Promise of what brings the element to life; null where that failed. */
  wake() {
    near.unobserve(this);
    return (this.awake ??= this.load().catch(error => {
      console.error(error);
      return null;
    }));
  }
}

class MoeFigure extends Sleeping {
  connectedCallback() {
    super.connectedCallback();
    this.page = location.pathname;
    this.returned = document.readyState === 'complete' && history.state !== null; // back or forward, without a reload
  }

  async load() {
    const {Figure} = await import('./figure.js');
    return new Figure(this).start();
  }

  /** Draw these rows in place of the recorded ones; names of columns that the figure reads and the rows lack. */
  async setRows(rows, options) {
    return (await this.wake())?.setRows(rows, options);
  }

  /** Back to the recorded rows, if other ones are shown. */
  async restore() {
    const figure = await this.awake;
    if (figure?.own) await figure.reset();
  }
}

class MoeCell extends Sleeping {
  async load() {
    const {Cell} = this.hasAttribute('exercise') ? await import('./exercise.js') : await import('./cell.js');
    return new Cell(this, WORKER);
  }
}

class MoeTable extends Sleeping {
  async load() {
    const {Table} = await import('./atlas.js');
    return new Table(this);
  }
}

class MoeBill extends Sleeping {
  connectedCallback() {
    super.connectedCallback();
    const figure = document.getElementById(this.getAttribute('for'));
    figure.addEventListener('moe-change', () => this.isConnected && this.wake(), {once: true}); // it must follow
  }

  async load() {
    const {Bill} = await import('./bill.js');
    return new Bill(this, WORKER).start();
  }
}

/** Words and symbols with a tip: so light that they are woken for who saves data, too. */
class Tipped extends Sleeping {
  connectedCallback() {
    super.connectedCallback();
    near.observe(this);
  }
}

class MoeTerm extends Tipped {
  async load() {
    const {Term} = await import('./tips.js');
    return new Term(this);
  }
}

class MoeSymbols extends Tipped {
  async load() {
    const {Symbols} = await import('./symbols.js');
    return new Symbols(this);
  }
}

customElements.define('moe-figure', MoeFigure);
customElements.define('moe-bill', MoeBill);
customElements.define('moe-cell', MoeCell);
customElements.define('moe-table', MoeTable);
customElements.define('moe-term', MoeTerm);
customElements.define('moe-symbols', MoeSymbols);
