// Rows from CSV: a column of numbers becomes numbers, one of true and false becomes truth values.

import {csvParseRows} from 'd3-dsv'; // csvParse builds its rows with `new Function`, which the site's policy forbids

export function rowsOf(text) {
  const [columns, ...lines] = csvParseRows(text);
  const conversions = columns.map((_, place) => conversion(lines.map(line => line[place])));
  return lines.map(line =>
    Object.fromEntries(columns.map((column, place) => [column, conversions[place](line[place])])),
  );
}

/** Columns that hold one value in all rows, with that value. */
export function constants(rows) {
  return Object.fromEntries(
    Object.entries(rows[0] ?? {}).filter(([column, value]) => rows.every(row => row[column] === value)),
  );
}

function conversion(texts) {
  const filled = texts.filter(text => text.trim() !== '');
  if (filled.every(text => text === 'true' || text === 'false')) return text => text === 'true';
  return filled.every(text => Number.isFinite(Number(text))) ? text => (text === '' ? null : Number(text)) : String;
}
