// Tables that stay readable on narrow screens, with search, filters and pages.

import { debounce, fill, h, srOnly, uniqueId } from './dom.js';
import { t } from './i18n.js';

const PAGE_SIZES = [25, 50, 100];

/**
 * The frame of a table. `columns`: `{ id, label, cell(row), sortable, narrow, wide }`. `sort` is `{ column, descending }`.
 * Narrow screens stack the cells with their labels; the ARIA roles keep it a table for screen readers then.
 * Answers the element and `show(rows, sort)`.
 */
export function plainTable({ caption, columns, onSort }) {
  const heads = columns.map((column) => {
    const content = column.sortable && onSort
      ? h('button', { type: 'button', class: 'ls-sort', on: { click: () => onSort(column.id) } }, column.label,
        h('span', { class: 'ls-sort-mark', 'aria-hidden': 'true' }))
      : column.label || srOnly(t('table.actions'));
    return h('th', { scope: 'col', role: 'columnheader', class: column.narrow && 'collapsing' }, content);
  });
  const body = h('tbody', { role: 'rowgroup' });
  const table = h('table', { class: 'ui very basic selectable unstackable table ls-table', role: 'table' },
    h('caption', { class: 'ls-sr' }, caption),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, heads)), body);

  function show(rows, sort) {
    heads.forEach((head, index) => {
      const active = sort && sort.column === columns[index].id;
      if (active) head.setAttribute('aria-sort', sort.descending ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
    });
    fill(body, rows.map((row) => h('tr', { role: 'row' }, columns.map((column) => cell(column, row)))));
  }
  return { element: table, show };
}

/** A cell; one without a value is marked, since a narrow screen has no use for its label. */
function cell(column, row) {
  const element = h('td', { role: 'cell', dataset: { label: column.label || '' }, class: cellClass(column) }, column.cell(row));
  element.classList.toggle('ls-no-value', ['', '–'].includes(element.textContent));
  return element;
}

function cellClass(column) {
  if (column.narrow) return 'collapsing';
  return column.wide && 'ls-wide';
}

/** Page buttons and the number of rows on a page. `onChange(page, perPage)`; `show(total, page, perPage)`. */
export function pager(onChange) {
  const state = { page: 1, pages: 1, perPage: PAGE_SIZES[1] };
  const position = h('span', { class: 'ls-pager-text', role: 'status' });
  const previous = stepButton(t('pager.previous'), -1);
  const next = stepButton(t('pager.next'), 1);
  const sizeId = uniqueId('size');
  const size = h('select', { id: sizeId, class: 'ui compact dropdown' },
    PAGE_SIZES.map((amount) => h('option', { value: amount }, String(amount))));
  size.addEventListener('change', () => onChange(1, Number(size.value)));

  function stepButton(text, step) {
    const button = h('button', { type: 'button', class: 'ui small button' }, text);
    button.addEventListener('click', () => {
      if (button.getAttribute('aria-disabled') !== 'true') onChange(state.page + step, state.perPage);
    });
    return button;
  }

  function show(total, page, perPage) {
    Object.assign(state, { page, perPage, pages: Math.max(1, Math.ceil(total / perPage)) });
    const from = total === 0 ? 0 : (page - 1) * perPage + 1;
    fill(position, t('pager.shown', { from, to: Math.min(total, page * perPage), total }));
    size.value = String(perPage);
    buttons.hidden = state.pages < 2;
    sizes.hidden = total <= PAGE_SIZES[0];
    setDisabled(previous, page <= 1);
    setDisabled(next, page >= state.pages);
  }

  const buttons = h('span', { class: 'ls-pager-buttons' }, previous, next);
  const sizes = h('span', { class: 'ls-pager-size' }, h('label', { for: sizeId }, t('pager.perPage')), size);
  const element = h('nav', { class: 'ls-pager', 'aria-label': t('pager.label') }, position, buttons, sizes);
  return { element, show };
}

function setDisabled(button, disabled) {
  button.classList.toggle('disabled', disabled);
  if (disabled) button.setAttribute('aria-disabled', 'true');
  else button.removeAttribute('aria-disabled');
}

/** A labelled search box; `onSearch(text)` follows the typing. */
export function searchBox(label, onSearch, value = '') {
  const id = uniqueId('search');
  const input = h('input', { id, type: 'search', value, placeholder: label, autocomplete: 'off', dir: 'auto' });
  input.addEventListener('input', debounce(() => onSearch(input.value.trim()), 250));
  return h('div', { class: 'ui input ls-search' }, h('label', { class: 'ls-sr', for: id }, label), input);
}

/**
 * A table over rows that are all here: filters, search and pages work in the browser.
 * `filters`: `{ label, match(row) }`, the first of them shows everything; those that match nobody are left out.
 * `searchText(row)` is what a search reads.
 */
export function dataTable({ caption, columns, rows, filters: allFilters = [], searchText }) {
  const filters = allFilters.filter((filter, index) => index === 0 || rows.some(filter.match));
  const state = { filter: 0, search: '', page: 1, perPage: PAGE_SIZES[1] };
  const table = plainTable({ caption, columns });
  const nothing = h('p', { class: 'ls-nothing' }, t('table.nothingMatches'));
  const pages = pager((page, perPage) => {
    Object.assign(state, { page, perPage });
    update();
  });
  const chips = filters.map((filter, index) => h('button', {
    type: 'button', class: 'ui small basic button ls-chip', on: { click: () => change({ filter: index }) },
  }, filter.label, ' ', h('span', { class: 'ls-chip-count' }, rows.filter(filter.match).length)));

  function change(part) {
    Object.assign(state, part, { page: 1 });
    update();
  }

  function update() {
    const wanted = fold(state.search);
    const match = filters.length ? filters[state.filter].match : () => true;
    const found = rows.filter((row) => match(row) && (!wanted || fold(searchText(row)).includes(wanted)));
    chips.forEach((chip, index) => {
      chip.setAttribute('aria-pressed', String(index === state.filter));
      chip.classList.toggle('active', index === state.filter);
    });
    table.show(found.slice((state.page - 1) * state.perPage, state.page * state.perPage));
    table.element.hidden = found.length === 0;
    nothing.hidden = found.length > 0;
    pages.show(found.length, state.page, state.perPage);
  }

  const search = searchText && rows.length > 5 && searchBox(t('table.search'), (text) => change({ search: text }));
  update();
  const chipGroup = chips.length > 1 && h('div', { class: 'ls-chips', role: 'group', 'aria-label': t('table.filter') }, chips);
  return h('div', { class: 'ls-data' },
    (chipGroup || search) && h('div', { class: 'ls-toolbar' }, chipGroup, search),
    table.element, nothing, pages.element);
}

/** `text` as a search compares it. */
export function fold(text) {
  return String(text).toLocaleLowerCase().normalize('NFKC');
}
