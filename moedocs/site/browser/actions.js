// What a reader takes away from a figure, or does again; each is called with the figure and the button.

/** Save the picture as it stands. */
export async function png(figure, button) {
  const {picture} = await import('./png.js');
  const address = URL.createObjectURL(await picture(figure));
  const link = Object.assign(document.createElement('a'), {href: address, download: `${figure.name}.png`});
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // Safari reads it late
  figure.answer(button, 'Saved');
}

/** Run the figure's cell where the page has it, else show the command that makes the figure. */
export async function rerun(figure, button) {
  const cell = document.querySelector(`moe-cell[for="${CSS.escape(figure.name)}"]`);
  if (!cell) {
    const line = command(figure);
    line.hidden = !line.hidden;
    button.setAttribute('aria-expanded', String(!line.hidden));
    if (!line.hidden) figure.announce(`In a checkout: ${line.querySelector('code').textContent}`);
    return;
  }
  const life = await cell.wake();
  if (!life) throw new Error('the cell could not be loaded');
  cell.scrollIntoView({block: 'nearest'});
  cell.querySelector('[data-do=run]').focus({preventScroll: true});
  life.run();
  figure.answer(button, 'Running its cell');
}

/** Put that command on the clipboard. */
export async function copy(figure, button) {
  const words = command(figure).querySelector('code').textContent;
  const copied = await navigator.clipboard?.writeText(words).then(() => true, () => false);
  figure.answer(button, copied ? 'Copied' : 'Select it to copy it');
}

const command = figure => figure.element.querySelector('.moe-command');
