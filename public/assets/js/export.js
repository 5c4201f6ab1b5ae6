// Tables saved as files: CSV for a spreadsheet, JSON for a program.

import { h, withBusy } from './dom.js';
import { t } from './i18n.js';

/** How long a saved file stays in the browser's memory; some browsers begin to write it late. */
const KEPT_MS = 60000;

/** A phone number in international form: the one value that may begin with a plus. */
const PHONE = /^\+\d+$/;

/**
 * Two buttons that save `rows` as CSV and `data` as JSON. `name` is the file's name without its ending, `columns` a list
 * of `{ label, value(row) }`.
 */
export function exportButtons(name, columns, rows, data) {
  return fetchedExportButtons(name, columns, async () => ({ rows, data }));
}

/** The same for what is fetched when a button is pressed: `load()` answers `{ rows, data }`, or null to save nothing. */
export function fetchedExportButtons(name, columns, load) {
  return [
    saveButton('csv', load, ({ rows }) => download(`${name}.csv`, 'text/csv;charset=utf-8', toCsv(columns, rows))),
    saveButton('json', load, ({ data }) => download(`${name}.json`, 'application/json', `${JSON.stringify(data, null, 2)}\n`)),
  ];
}

function saveButton(kind, load, save) {
  const label = t(`export.${kind}.label`);
  const button = h('button', { type: 'button', class: 'ui button', 'aria-label': label, title: label }, t(`export.${kind}`));
  button.addEventListener('click', () => withBusy(button, async () => {
    const loaded = await load();
    if (loaded) save(loaded);
  }));
  return button;
}

/** The name of an exported file without its ending: what it is, its number, and the day of `ms` (Unix milliseconds). */
export function fileName(kind, id, ms) {
  const date = new Date(ms);
  const two = (number) => String(number).padStart(2, '0');
  return [kind, id, date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
}

/** Rows as CSV (RFC 4180) with a line of labels; the byte order mark tells a spreadsheet that it is UTF-8. */
export function toCsv(columns, rows) {
  const lines = [columns.map(({ label }) => label), ...rows.map((row) => columns.map(({ value }) => value(row)))];
  return `\uFEFF${lines.map((cells) => `${cells.map(csvCell).join(',')}\r\n`).join('')}`;
}

/** A cell of CSV. */
export function csvCell(value) {
  const text = withoutFormula(value === null || value === undefined ? '' : String(value));
  return /[",;\t\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * A text that no spreadsheet runs: an apostrophe stands before what would begin a formula, also behind a character that
 * ends a cell for a spreadsheet that separates by semicolons or tabs.
 */
function withoutFormula(text) {
  if (PHONE.test(text)) return text;
  return text.replace(/^[=+\-@\t\r\n]/, "'$&").replace(/([;\t\r\n])([=+\-@])/g, "$1'$2");
}

/** Saves `text` as the file `name`. */
export function download(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  h('a', { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), KEPT_MS);
}
