// The picture of a figure as it stands, as a PNG of twice its size: title, settings, chart, where it comes from.

const SCALE = 2;
const EDGE = 16; // px around the chart, into which its text may reach
const GAP = 8;

/** A Blob of the picture that the page shows, in the palette that it has. */
export async function picture(figure) {
  const style = getComputedStyle(figure.element.querySelector('figure'));
  const colour = name => style.getPropertyValue(`--moe-${name}`).trim();
  const svg = shown(figure);
  const [width, height] = ['width', 'height'].map(side => svg.viewBox.baseVal[side]);
  const canvas = document.createElement('canvas');
  const pen = canvas.getContext('2d');
  const write = (words, size, name, weight = 400) => ({words, size, colour: colour(name), font: `${weight} ${size}px ${style.fontFamily}`});
  const above = [...wrapped(pen, write(title(figure), 17, 'ink', 650), width), ...wrapped(pen, write(settings(figure), 12, 'soft'), width)];
  const below = wrapped(pen, write(origin(figure), 11, 'soft'), width);
  const [top, bottom] = [above, below].map(lines => lines.reduce((sum, line) => sum + line.height, 0));
  canvas.width = SCALE * (width + 2 * EDGE);
  canvas.height = SCALE * (EDGE + top + GAP + height + GAP + bottom + EDGE);
  pen.scale(SCALE, SCALE);
  pen.fillStyle = colour('paper');
  pen.fillRect(0, 0, canvas.width, canvas.height);
  const chart = await imageOf(svg, width, height, style);
  pen.drawImage(chart, 0, top + GAP, width + 2 * EDGE, height + 2 * EDGE);
  put(pen, above, EDGE);
  put(pen, below, EDGE + top + GAP + height + GAP);
  return new Promise((resolve, reject) => {
    canvas.toBlob(blob => (blob ? resolve(blob) : reject(new Error('the browser made no picture'))), 'image/png');
  });
}

/** The drawing that the reader sees: the live chart, else the picture under it. */
function shown({pictures}) {
  const place = pictures.find(picture => picture.getClientRects().length);
  return place.querySelector('.moe-chart svg.marks') ?? place.querySelector(':scope > svg');
}

/** The drawing as an image that stands alone: colours written out, the hatch of a live chart brought along. */
async function imageOf(svg, width, height, style) {
  const alone = svg.cloneNode(true);
  const hatch = svg.closest('.moe-chart')?.querySelector('pattern');
  if (hatch) alone.prepend(hatch.cloneNode(true));
  const sides = [width + 2 * EDGE, height + 2 * EDGE];
  alone.setAttribute('viewBox', `${-EDGE} ${-EDGE} ${sides.join(' ')}`);
  alone.setAttribute('width', SCALE * sides[0]);
  alone.setAttribute('height', SCALE * sides[1]);
  const text = new XMLSerializer().serializeToString(alone);
  const plain = text.replace(/var\((--[\w-]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(plain)}`; // the site's policy allows data
  await image.decode();
  return image;
}

const title = figure => figure.element.querySelector('.moe-figure__title').textContent.trim();

/** What controls and player stand at, in their own words. */
function settings(figure) {
  const labels = [...figure.element.querySelectorAll('.moe-control:has([data-param])')];
  const told = labels.map(label => `${label.querySelector('span').textContent.trim()}: ${value(label)}`);
  return [...told, figure.player?.words].filter(Boolean).join('  ·  ');
}

function value(label) {
  const input = label.querySelector('[data-param]');
  if (input.type === 'checkbox') return input.checked ? 'yes' : 'no';
  return input.selectedOptions?.[0].text ?? label.querySelector('output')?.textContent ?? input.value;
}

const origin = ({badge, name}) => `${badge.textContent.trim()}  ·  ${location.origin}${location.pathname}#${name}`;

/** Lines no wider than this, each with its height; a word that is wider is cut. */
function wrapped(pen, {words, font, ...rest}, width) {
  pen.font = font;
  const lines = [];
  for (const word of words.split(' ').flatMap(word => pieces(pen, word, width))) {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    if (lines.length && pen.measureText(longer).width <= width) lines.splice(-1, 1, longer);
    else lines.push(word);
  }
  return words ? lines.map(text => ({text: text.trim(), font, height: Math.ceil(rest.size * 1.45), ...rest})) : [];
}

function pieces(pen, word, width) {
  let cut = word.length;
  while (cut > 1 && pen.measureText(word.slice(0, cut)).width > width) cut -= 1;
  return cut < word.length ? [word.slice(0, cut), ...pieces(pen, word.slice(cut), width)] : [word];
}

function put(pen, lines, top) {
  let y = top;
  pen.textBaseline = 'middle';
  for (const {text, font, height, colour} of lines) {
    pen.font = font;
    pen.fillStyle = colour;
    pen.fillText(text, EDGE, y + height / 2);
    y += height;
  }
}
