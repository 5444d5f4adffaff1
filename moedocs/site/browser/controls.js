// The native inputs of a figure, by the name of the parameter that each one sets.

export class Controls {
  /** `changed({name: value})` is called whenever the reader moves one. */
  constructor(root, changed) {
    this.root = root;
    this.original = root?.innerHTML;
    this.enable();
    root?.addEventListener('input', ({target}) => {
      if (!target.dataset.param) return;
      show(target);
      changed({[target.dataset.param]: read(target)});
    });
  }

  values() {
    return Object.fromEntries(this.inputs().map(input => [input.dataset.param, read(input)]));
  }

  /** Bring inputs to these values, with room made for a value that they could not take so far. */
  put(values) {
    for (const input of this.inputs()) {
      if (input.dataset.param in values) {
        write(input, values[input.dataset.param]);
        show(input);
      }
    }
  }

  enable(on = true) {
    for (const input of this.inputs()) {
      input.disabled = !on;
      if (on) show(input);
    }
  }

  reset() {
    if (!this.root) return;
    this.root.innerHTML = this.original;
    this.enable();
  }

  inputs() {
    return [...(this.root?.querySelectorAll('[data-param]') ?? [])];
  }
}

/** A slider over listed values holds their index. */
const listed = input => input.dataset.values && JSON.parse(input.dataset.values);

function read(input) {
  if (input.type === 'checkbox') return input.checked;
  if (input.type === 'range') return listed(input)?.[Number(input.value)] ?? Number(input.value);
  return JSON.parse(input.value);
}

function write(input, value) {
  if (input.type === 'checkbox') input.checked = Boolean(value);
  else if (input.type !== 'range') choose(input, value);
  else if (input.dataset.values) slideTo(input, value);
  else {
    input.min = Math.min(input.min, value);
    input.max = Math.max(input.max, value);
    input.value = value;
    if (Number(input.value) !== value) {
      input.step = 'any';
      input.value = value;
    }
  }
}

function choose(select, value) {
  const found = [...select.options].find(option => JSON.parse(option.value) === value);
  if (found) found.selected = true;
  else select.add(new Option(String(value), JSON.stringify(value), true, true));
}

function slideTo(input, value) {
  const values = listed(input);
  if (!values.includes(value)) {
    values.push(value);
    values.sort((a, b) => a - b);
    input.dataset.values = JSON.stringify(values);
    input.max = values.length - 1;
  }
  input.value = values.indexOf(value);
}

function show(input) {
  const output = input.closest('label')?.querySelector('output');
  if (!output || Number(output.value) === read(input)) return; // 1.0 stays as the page wrote it
  output.value = String(read(input));
  if (input.dataset.values) input.setAttribute('aria-valuetext', output.value);
}
