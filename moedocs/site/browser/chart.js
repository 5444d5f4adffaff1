// A compiled Vega specification, live in the place of its picture. Only the parts of Vega that our charts use.

import {transforms as registry} from 'vega-dataflow';
import * as encode from 'vega-encode';
import {expressionInterpreter} from 'vega-interpreter';
import {parse} from 'vega-parser';
import {Handler} from 'vega-tooltip';
import * as transforms from 'vega-transforms';
import {View} from 'vega-view';
import * as viewTransforms from 'vega-view-transforms';

Object.assign(registry, transforms, viewTransforms, encode);

const HATCH = 'url(#moe-hatch)';

export class Chart {
  warnings = []; // what Vega found odd while it drew

  /** Draw `rows` with these signal values over the picture, whose place it takes exactly. */
  static async draw(picture, spec, rows, signals) {
    const chart = new Chart(picture, spec);
    try {
      chart.view.data('table', rows.map(row => ({...row}))); // copies: Vega writes into what it is given
      await chart.set(signals);
      if (chart.failure) throw chart.failure;
    } catch (error) {
      chart.finalize();
      throw error;
    }
    picture.classList.add('is-live');
    return chart;
  }

  constructor(picture, spec) {
    this.picture = picture;
    this.place = document.createElement('div');
    this.place.className = 'moe-chart';
    this.place.setAttribute('aria-hidden', 'true'); // the picture has the name and the words
    const root = document.createElement('div');
    this.place.append(root);
    picture.append(this.place);
    const runtime = parse(JSON.parse(this.#withOwnHatch(spec)), null, {ast: true});
    this.view = new View(runtime, {
      expr: expressionInterpreter,
      renderer: 'svg',
      logger: this.#logger(),
      tooltip: new Handler({disableDefaultStyle: true, offsetX: 12, offsetY: 12}).call,
    }).initialize(root);
  }

  /** Set signals and draw. */
  async set(signals) {
    for (const [name, value] of Object.entries(signals)) this.view.signal(name, value);
    await this.view.runAsync();
  }

  /** What the layer named "readout" says. */
  readout() {
    const texts = [...this.place.querySelectorAll('g[class*="readout"] text')];
    const lines = texts.flatMap(text => (text.children.length ? [...text.children] : [text]));
    return lines.map(line => line.textContent.trim()).filter(Boolean).join('; ');
  }

  finalize() {
    this.view?.finalize();
    this.place.remove();
    this.picture.classList.toggle('is-live', this.picture.querySelector('.moe-chart') !== null);
    document.getElementById('vg-tooltip-element')?.remove();
  }

  /** The picture's hatch is hidden with it and would draw nothing: the chart brings a copy under its own name. */
  #withOwnHatch(spec) {
    const pattern = this.picture.querySelector('pattern')?.cloneNode(true);
    if (!pattern) return spec;
    const name = `${this.picture.closest('[id]').id}-${this.picture.dataset.size}-live-hatch`;
    pattern.id = name;
    const holder = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    holder.setAttribute('class', 'moe-defs');
    holder.append(pattern);
    this.place.append(holder);
    return spec.replaceAll(HATCH, `url(#${name})`);
  }

  /** Vega reports what goes wrong while it draws to its logger alone. */
  #logger() {
    const logger = {
      level: () => logger,
      debug: () => logger,
      info: () => logger,
      warn: (...words) => (this.warnings.push(words.join(' ')), logger),
      error: reason => {
        this.failure = reason instanceof Error ? reason : new Error(String(reason));
        return logger;
      },
    };
    return logger;
  }
}
