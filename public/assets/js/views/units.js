// The directory's units: as a tree to choose from, and how many people are in each with the units below it.

import { fill, h, uniqueId, val } from '../dom.js';
import { t } from '../i18n.js';
import { message, openDialog } from '../messages.js';
import { fold, searchBox } from '../table.js';

/** With more units than this there is a search box. */
const SEARCH_ABOVE = 15;

/**
 * Makes a tree of an answer of `get-directory-tree` and answers its root, the base. Each unit has its `children`, and in
 * `total` the people in it and below it. A unit whose parent is not in the answer stands below the base.
 */
export function unitTree({ base, units, people }) {
  const nodes = units.map((unit) => ({ ...unit, children: [] }));
  const byName = new Map(nodes.map((node) => [comparable(node.dn), node]));
  const root = byName.get(comparable(base)) || nodes[0];
  for (const node of nodes) {
    const parent = byName.get(comparable(node.parent || '')) || root;
    if (node !== root) parent.children.push(node);
  }
  addTotals(root);
  root.total = people;
  return root;
}

function addTotals(node) {
  node.children.forEach(addTotals);
  node.total = node.children.reduce((sum, child) => sum + child.total, node.people);
}

/** The unit a value of the field `organizationalUnit` means: a DN, a DN below the base, a bare name; none is the root. */
export function unitNamed(root, text) {
  const typed = text.trim();
  if (!typed) return root;
  if (!typed.includes('=')) return root.children.find((node) => node.name.toLowerCase() === typed.toLowerCase()) || null;
  const meant = [typed, `${typed},${root.dn}`].map(comparable);
  return flat(root).find((node) => meant.includes(comparable(node.dn))) || null;
}

/** A DN without regard to case and to blanks around separators. */
function comparable(dn) {
  return dn.toLowerCase().replace(/\s*([,;=])\s*/g, '$1');
}

function flat(node) {
  return [node, ...node.children.flatMap(flat)];
}

/**
 * Lets the reader choose a unit below `root`. `typed` is what the field holds, `base` what stands in that of the base DN;
 * `onChoose(text)` gets what the field shall hold: nothing for the base itself.
 */
export function chooseUnit(root, { typed, base, cut, signal, onChoose }) {
  const current = unitNamed(root, typed);
  const group = uniqueId('unit');
  const rows = flat(root).map((node) => unitRow(node, node === root, group, node === (current || root), node === current));
  const rowOf = new Map(rows.map((row) => [row.node, row]));
  const problem = h('div', { role: 'status' });
  const cancel = h('button', { type: 'button', class: 'ui button' }, t('button.cancel'));
  const form = h('form', { novalidate: true },
    h('fieldset', { class: 'ls-units' }, h('legend', { class: 'ls-sr' }, t('units.title')), h('ul', {}, unitItem(root, rowOf))),
    problem,
    h('div', { class: 'ls-actions' }, h('button', { type: 'submit', class: 'ui primary button' }, t('units.choose')), cancel));
  const dialog = openDialog(t('units.title'), h('p', { class: 'ls-hint' }, t('units.hint')),
    cut && message('warning', t('units.cut'), [t('units.cutText')]),
    !current && h('p', { class: 'ls-hint' }, t('units.notListed', { unit: typed.trim() })),
    rows.length > SEARCH_ABOVE && searchBox(t('units.search'), (text) => search(rows, text, problem)), form);

  cancel.addEventListener('click', () => dialog.close());
  signal.addEventListener('abort', () => dialog.close(), { once: true });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const chosen = rows.find((row) => row.radio.checked);
    if (!chosen) {
      fill(problem, h('p', {}, t('units.none')));
      return;
    }
    dialog.close();
    onChoose(chosen.node === root && base ? '' : chosen.node.dn);
  });
}

/** A unit with those below it. */
function unitItem(node, rowOf) {
  return h('li', {}, rowOf.get(node).element,
    node.children.length > 0 && h('ul', {}, node.children.map((child) => unitItem(child, rowOf))));
}

function unitRow(node, whole, group, autofocus, checked) {
  const radio = h('input', { type: 'radio', name: group, value: node.dn, checked, autofocus });
  const element = h('label', { class: 'ls-unit' }, radio,
    h('span', { class: 'ls-unit-text' },
      h('span', { class: 'ls-name' }, whole ? t('units.whole') : val(node.name)), ' ',
      h('span', { class: 'ls-unit-dn' }, val(node.dn))), ' ',
    h('span', { class: 'ls-unit-count' }, t('units.people', { count: node.total })));
  return { node, radio, element };
}

/** Shows the units that match, and the chosen one. */
function search(rows, text, problem) {
  const wanted = fold(text);
  const matching = rows.filter(({ node }) => fold(`${node.name} ${node.dn}`).includes(wanted));
  rows.forEach((row) => { row.element.hidden = !matching.includes(row) && !row.radio.checked; });
  fill(problem, matching.length === 0 && h('p', {}, t('table.nothingMatches')));
}
