// Symbols of formulae: a tip on hover, and light on whatever shows the same thing: formulae, lists, parts of figures.
// What a symbol is stands in the page, in the list under the formula that has it first; here its signs become buttons.

import {element, GRACE, REST, Tip} from './tips.js';

const SYMBOL = '.katex-html [data-sym]';
const wishes = {hovered: '', focused: '', pressed: ''}; // names of symbols; the first of them is lit
const sheet = new CSSStyleSheet();
document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
document.addEventListener('keydown', ({key}) => key === 'Escape' && wish({hovered: '', focused: '', pressed: ''}));

/** A formula with symbols in it, and the list that may stand below it. */
export class Symbols {
  constructor(home) {
    this.home = home;
    this.tip = new Tip(home, () => wish({hovered: ''}));
    const signs = home.querySelectorAll('.moe-where__sign');
    if (signs.length) this.status = home.appendChild(element('span', {className: 'moe-live', role: 'status'}));
    for (const sign of signs) this.#press(sign);
    this.#listen();
  }

  leave() {
    this.tip.remove();
    this.listening.abort();
    wish({hovered: '', focused: '', pressed: ''});
  }

  /** Make a button of a sign in the list. */
  #press(sign) {
    const button = element('button', {type: 'button', className: sign.className});
    Object.assign(button.dataset, sign.dataset);
    button.setAttribute('aria-pressed', 'false');
    // a formula alone is no name that every reader of screens can tell
    button.append(...sign.childNodes, element('span', {className: 'moe-live', textContent: sign.dataset.said}));
    button.addEventListener('click', () => this.#toggle(button));
    button.addEventListener('focus', () => wish({focused: button.dataset.sym}));
    button.addEventListener('blur', () => wish({focused: ''}));
    sign.replaceWith(button);
  }

  #toggle(button) {
    const {sym} = button.dataset;
    const pressed = wishes.pressed === sym ? '' : sym;
    wish({pressed, hovered: '', focused: pressed});
    const titles = figuresOf(sym).map(titleOf).join(', ');
    this.status.textContent = !pressed ? 'No longer lit' : titles ? `Lit in the figure ${titles}` : 'Lit in the formulae';
  }

  #listen() {
    this.listening = new AbortController();
    const on = (type, what) => this.home.addEventListener(type, what, {signal: this.listening.signal});
    on('pointerover', event => event.pointerType !== 'touch' && this.#over(event));
    on('pointerleave', event => event.pointerType !== 'touch' && this.#away());
    on('click', event => {
      const symbol = event.target.closest(SYMBOL);
      if (symbol && this.tip.isOpen && this.tip.anchor === symbol && event.pointerType === 'touch') this.tip.hide();
      else if (symbol) this.#show(symbol, event);
    });
  }

  #over(event) {
    const symbol = event.target.closest(SYMBOL);
    const row = event.target.closest('.moe-where dl > div');
    if (this.tip.box.contains(event.target)) clearTimeout(this.tip.timer);
    else if (symbol) this.tip.soon(REST, () => this.#show(symbol, event));
    else if (row) this.tip.soon(REST, () => (this.tip.hide(), wish({hovered: row.querySelector('[data-sym]').dataset.sym})));
    else this.#away();
  }

  #away() {
    this.tip.soon(GRACE, () => (this.tip.hide(), wish({hovered: ''})));
  }

  #show(symbol, event) {
    const {sym} = symbol.dataset;
    const sign = entryOf(sym);
    if (!sign) return;
    const words = sign.closest('div').querySelector('dd');
    this.tip.words.replaceChildren(copy(sign.querySelector('.katex')), ' ', ...[...words.childNodes].map(copy));
    const links = figuresOf(sym).map(figure => element('a', {href: `#${figure.id}`, textContent: titleOf(figure)}));
    this.tip.links.replaceChildren(...(links.length ? ['Lit in the figure '] : []), ...links);
    this.tip.show(symbol, event);
    wish({hovered: sym});
  }
}

/** Light what is now wanted most, and nothing else. */
function wish(changes) {
  Object.assign(wishes, changes);
  const name = wishes.hovered || wishes.focused || wishes.pressed;
  for (const symbol of document.querySelectorAll('[data-sym]')) {
    symbol.classList.toggle('is-lit', symbol.dataset.sym === name);
    if (symbol.ariaPressed) symbol.ariaPressed = String(symbol.dataset.sym === wishes.pressed);
  }
  sheet.replaceSync(rules(selectorOf(name)));
}

/** Rules hold for a chart that is drawn while they are there, too. */
function rules(parts) {
  if (!parts) return '';
  const others = `g[class*="role-mark"]:not(${parts}, :is(${parts}) *, :has(${parts}), [class*="readout"])`;
  return `@media screen { moe-figure:has(svg :is(${parts})) svg ${others} { opacity: 0.16; } }`;
}

/** Selector of the marks that show this symbol; a layer "part_load" draws "part_load_marks", or "part_load_0_marks". */
function selectorOf(name) {
  const parts = (name && entryOf(name)?.dataset.lights?.split(' ')) || [];
  return parts.map(part => `[class*="${part}_"]`).join();
}

function figuresOf(name) {
  const parts = selectorOf(name);
  return parts ? [...document.querySelectorAll(`moe-figure:has(svg :is(${parts}))`)] : [];
}

const entryOf = name => document.querySelector(`.moe-where__sign[data-sym="${name}"]`);
const titleOf = figure => figure.querySelector('.moe-figure__title').textContent;
const copy = node => node.cloneNode(true);
