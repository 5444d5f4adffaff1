// A figure that has come to life: controls and player set signals, the chart draws, the readout is announced.

import * as actions from './actions.js';
import {keep, linkTo, present, stateOf} from './address.js';
import {Below} from './below.js';
import {Controls} from './controls.js';
import {Player} from './player.js';
import {constants, rowsOf} from './table.js';

const CALM = 500; // ms without a change before it is announced
const OWN = 'your own run';
const ANSWERED = 3000; // ms that a button shows what came of it

export class Figure {
  specs = {};
  own = ''; // what the badge says of rows that are the reader's

  constructor(element) {
    this.element = element;
    this.base = element.base;
    this.name = new URL(this.base).pathname.split('/').filter(Boolean).at(-1);
    this.pictures = [...element.querySelectorAll('.moe-picture')];
    this.listener = element.querySelector('.moe-live');
    this.badge = element.querySelector('.moe-badge');
    this.controls = new Controls(
      element.querySelector('.moe-controls'),
      values => this.#change(values),
      (label, limits) => this.announce(`${label}: ${limits}`),
    );
    const player = element.querySelector('.moe-player');
    this.player = player && new Player(player, element.querySelector('.moe-steps'), () => this.#change(this.player.value));
    this.below = new Below(element.querySelector('.moe-data'));
    this.opens = this.values();
    this.sent = this.#follow(); // whether the reader came to something else than it opens with
  }

  /** Read the data, draw, and follow the width; a figure that cannot be drawn keeps its picture. */
  async start() {
    try {
      this.recorded = rowsOf(await text(`${this.base}${this.name}.csv`));
      this.rows = this.recorded;
      await this.draw();
    } catch (error) {
      this.#fail(error);
      return this;
    }
    this.width = new ResizeObserver(() => this.draw().catch(error => this.#fail(error)));
    this.width.observe(this.element);
    this.#listen();
    if (differ(this.values(), this.opens)) this.#tell();
    if (this.sent) present(this.element);
    return this;
  }

  /** Draw over the picture that the page shows at this width, unless that has been done; whether all went well. */
  async draw() {
    const picture = this.pictures.find(shown);
    if (!picture || picture === this.picture) return true;
    this.picture = picture;
    const address = `${this.base}${picture.dataset.size}.vg.json`;
    const [{Chart}, spec] = await Promise.all([import('./chart.js'), (this.specs[address] ??= text(address))]);
    const chart = await Chart.draw(picture, spec, this.rows, this.values());
    if (this.gone || picture !== this.picture) {
      chart.finalize();
      return true;
    }
    this.chart?.finalize();
    this.chart = chart;
    return this.#set(this.values()); // and what the reader has changed meanwhile
  }

  values() {
    return {...this.controls.values(), ...this.player?.value};
  }

  /** Draw the reader's own rows; where they could not be drawn in full, gives the columns that they lack. Rows that
   *  no chart can be made of are refused, and the recorded ones drawn again. Controls are brought to what holds for all
   *  rows, or to `put`. */
  async setRows(rows, {badge = OWN, put = constants(rows)} = {}) {
    if (!this.chart) return undefined;
    this.controls.put(put);
    // a column that a control chooses by need not be in the rows: they belong to the choice that stands
    const values = this.values();
    this.rows = rows.map(row => ({...values, ...row}));
    this.#mark(badge);
    const whole = await this.#redraw().catch(async error => {
      await this.reset();
      throw error;
    });
    if (this.own) this.#tell();
    return whole ? [] : Object.keys(this.recorded[0]).filter(column => !(column in this.rows[0]));
  }

  async reset() {
    this.controls.reset();
    this.player?.reset();
    this.rows = this.recorded;
    this.#mark('');
    await this.#redraw();
    this.#tell();
  }

  /** Put the link to the figure as it now is on the clipboard; the rows of a run cannot be in it. */
  async share(button) {
    const copied = await navigator.clipboard?.writeText(linkTo(this.name)).then(() => true, () => false);
    const words = this.own === OWN ? 'Link copied, without your run' : 'Link copied';
    this.answer(button, copied ? words : 'Copy it from the address bar');
  }

  leave() {
    this.gone = true;
    removeEventListener('popstate', this.#moved);
    this.width?.disconnect();
    this.player?.pause();
    this.chart?.finalize();
    clearTimeout(this.soon);
  }

  #listen() {
    addEventListener('popstate', this.#moved);
    for (const button of this.element.querySelectorAll('.moe-actions button')) {
      button.disabled = false;
      button.addEventListener('click', () => this.#act(button));
    }
  }

  async #act(button) {
    const action = actions[button.dataset.do];
    if (action) await action(this, button).catch(error => this.answer(button, `That failed: ${error.message}`));
    else await this[button.dataset.do](button).catch(error => this.#fail(error));
  }

  /** The reader went back or forward within the page. */
  #moved = () => {
    if (this.own || this.element.page !== location.pathname) return;
    const before = this.values();
    this.#follow();
    if (!differ(before, this.values())) return;
    this.player?.pause();
    this.#change(this.values());
  };

  /** Draw other rows, and from the ground: Vega's running sums would keep what the last ones did to them. */
  async #redraw() {
    this.picture = null;
    const whole = await this.draw();
    this.announce();
    return whole;
  }

  async #change(values) {
    if (!this.chart) return;
    await this.#set(values);
    this.announce();
    this.#tell();
  }

  /** Let the table below, the address and the page know what the figure now stands at. */
  #tell() {
    this.below.follow(this.rows, this.values(), this.own || (differ(this.values(), this.opens) ? 'the settings above' : ''));
    if (!this.element.isConnected || this.element.page !== location.pathname) return;
    keep(this.name, this.#differing());
    const detail = {values: this.values(), own: Boolean(this.own)};
    this.element.dispatchEvent(new CustomEvent('moe-change', {bubbles: true, detail}));
  }

  /** Texts of the values that are not those at the opening, undefined for the others and for what no control offers. */
  #differing() {
    const texts = Object.entries(this.values()).map(([name, value]) => [name, String(value)]);
    const offered = this.#offered(Object.fromEntries(texts));
    const differs = name => name in offered && offered[name] !== this.opens[name];
    return Object.fromEntries(texts.map(([name, text]) => [name, differs(name) ? text : undefined]));
  }

  #offered(texts) {
    return {...this.controls.offered(texts), ...this.player?.offered(texts)};
  }

  /** Bring controls and player to what the address says of them; whether it says anything. */
  #follow() {
    const found = this.#offered(stateOf(this.name));
    const values = {...this.opens, ...found};
    this.controls.put(values);
    if (this.player) this.player.put(values[this.player.root.dataset.param]);
    return Object.keys(found).length > 0;
  }

  /** Whether the drawing went without a warning; those about our own rows are for our own eyes. */
  async #set(values) {
    await this.chart?.set(values);
    if (this.chart?.failure) this.#fail(this.chart.failure);
    const warnings = this.chart?.warnings.splice(0) ?? [];
    if (!this.own) warnings.forEach(warning => console.warn(warning));
    return !warnings.length;
  }

  /** Say these words, or what a change led to, once it has come to rest. */
  announce(words) {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => {
      const found = [this.player?.words, this.player?.playing ? '' : this.chart?.readout()];
      this.listener.textContent = words ?? found.filter(Boolean).join('. ');
    }, CALM);
  }

  /** Let a button show for a while what came of it. */
  answer(button, words) {
    button.dataset.words ??= button.textContent;
    button.textContent = words;
    setTimeout(() => (button.textContent = button.dataset.words), ANSWERED);
    this.announce(words);
  }

  #mark(own) {
    this.own = own;
    this.element.classList.toggle('is-own', Boolean(own));
    if (!this.badge) return;
    this.badge.dataset.recorded ??= this.badge.textContent;
    this.badge.textContent = own || this.badge.dataset.recorded;
  }

  #fail(error) {
    console.error(error);
    this.chart?.finalize();
    this.chart = null;
    this.controls.enable(false);
    this.player?.pause();
    this.player?.enable(false);
    this.element.classList.add('is-failed');
    const line = document.createElement('p');
    line.className = 'moe-problem';
    line.textContent = `The live chart could not be drawn (${error.message}). The picture stays.`;
    this.element.querySelector('.moe-problem')?.remove();
    this.listener.before(line);
  }
}

const differ = (some, others) => Object.keys(some).some(name => some[name] !== others[name]);
const shown = picture => picture.getClientRects().length > 0;

async function text(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${new URL(address).pathname.split('/').at(-1)}: ${answer.status}`);
  return answer.text();
}
