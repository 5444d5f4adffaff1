// Tips: what a word means, beside the word. One is open at a time; a pointer may move onto it, Escape closes it.

export const REST = 100; // ms that a pointer rests on a word before its tip is shown
export const GRACE = 300; // ms it may take from the word to the tip
const EDGE = 8; // px between a tip and the edge of the window
const GAP = 6; // px between a tip and its word

let open = null;
let count = 0;

addEventListener('resize', () => open?.hide());
document.addEventListener('keydown', ({key}) => key === 'Escape' && open?.hide());
document.addEventListener('pointerdown', ({target}) => {
  if (!open?.box.contains(target) && !open?.anchor.contains(target)) open?.hide();
});

/** A box in the top layer, at home where its word is: so the keyboard comes to its links next. */
export class Tip {
  constructor(home, onHide = () => {}) {
    this.onHide = onHide;
    this.box = home.appendChild(element('span', {className: 'moe-tip', popover: 'manual'}));
    this.words = element('span', {className: 'moe-tip__words', id: `moe-tip-${++count}`});
    this.links = element('span', {className: 'moe-tip__links'});
    this.box.append(this.words, this.links);
  }

  get isOpen() {
    return open === this;
  }

  show(anchor, {clientX, clientY} = {}) {
    clearTimeout(this.timer);
    if (open !== this) open?.hide();
    open = this;
    this.anchor = anchor;
    this.box.showPopover?.();
    this.#place([...anchor.getClientRects()].find(box => holds(box, clientX, clientY)) ?? anchor.getClientRects()[0]);
  }

  hide() {
    clearTimeout(this.timer);
    if (open !== this) return;
    open = null;
    this.box.hidePopover?.();
    this.onHide();
  }

  /** Do this unless something else is asked for meanwhile. */
  soon(wait, what) {
    clearTimeout(this.timer);
    this.timer = setTimeout(what, wait);
  }

  showSoon(anchor, event) {
    if (this.isOpen && this.anchor === anchor) clearTimeout(this.timer);
    else this.soon(REST, () => this.show(anchor, event));
  }

  hideSoon() {
    this.soon(GRACE, () => this.hide());
  }

  remove() {
    this.hide();
    this.box.remove();
  }

  /** Below the word where there is room, else above it; inside of the window at the sides. */
  #place(word) {
    const {clientWidth, clientHeight} = document.documentElement;
    const {width, height} = this.box.getBoundingClientRect();
    const left = Math.max(EDGE, Math.min(word.left, clientWidth - EDGE - width));
    const below = word.bottom + GAP;
    const above = word.top - GAP - height;
    const top = below + height > clientHeight - EDGE && above >= EDGE ? above : below;
    Object.assign(this.box.style, {left: `${left + scrollX}px`, top: `${top + scrollY}px`});
  }
}

/** A word of the glossary: a link, and its tip on hover, on focus and on a first tap. */
export class Term {
  constructor(home) {
    this.link = home.querySelector('a');
    this.tip = new Tip(home);
    const {name, text, page, title} = home.dataset;
    this.tip.words.append(element('strong', {textContent: `${name[0].toUpperCase()}${name.slice(1)}.`}), ` ${text}`);
    if (page) this.tip.links.append(element('a', {href: page, textContent: title}));
    this.tip.links.append(element('a', {href: this.link.href, textContent: 'In the glossary'}));
    this.link.setAttribute('aria-describedby', this.tip.words.id);
    this.#listen(home);
    if (this.link.matches(':focus-visible')) this.tip.show(this.link);
  }

  leave() {
    this.tip.remove();
    this.link.removeAttribute('aria-describedby');
    this.listening.abort();
  }

  #listen(home) {
    this.listening = new AbortController();
    const {tip, link} = this;
    const on = (type, what) => home.addEventListener(type, what, {signal: this.listening.signal});
    on('pointerenter', event => event.pointerType !== 'touch' && tip.showSoon(link, event));
    on('pointerleave', event => event.pointerType !== 'touch' && !link.matches(':focus-visible') && tip.hideSoon());
    on('focusin', () => link.matches(':focus-visible') && tip.show(link));
    on('focusout', event => home.contains(event.relatedTarget) || tip.hide());
    on('pointerdown', event => (this.first = event.pointerType === 'touch' && !tip.isOpen));
    on('click', event => this.#click(event));
  }

  /** A first tap shows; it must not reach the page, which would follow the link. */
  #click(event) {
    if (!this.first || !this.link.contains(event.target)) return;
    this.first = false;
    event.preventDefault();
    event.stopPropagation();
    this.tip.show(this.link, event);
  }
}

export const element = (name, properties) => Object.assign(document.createElement(name), properties);
const holds = (box, x, y) => box.left <= x && x <= box.right && box.top <= y && y <= box.bottom;
