// What the directory itself offers to a server's form: its units, how many people a filter finds, its attributes.

import { call } from '../api.js';
import { fill, h, uniqueId, withBusy } from '../dom.js';
import { t } from '../i18n.js';
import { errorMessage, loading } from '../messages.js';
import { ATTRIBUTES, toBody } from './settings-draft.js';
import { chooseUnit, unitNamed, unitTree } from './units.js';

/** The settings that decide whom the directory finds. */
const DECISIVE = [
  'ldapType', 'serverName', 'serverPort', 'security', 'administrativeLogin', 'baseDN', 'organizationalUnit', 'userFilter',
];

/** The field whose attribute holds secrets: beneath it stands no example. */
const SECRET = 'userPasswordAttribute';

/** Adds a button to the organisational unit that offers the units of the directory. */
export function addUnitPicker(form) {
  if (!form.app.can('get-directory-tree')) return;
  const place = h('div', { class: 'ls-asked' });
  const button = h('button', { type: 'button', class: 'ui button', 'aria-haspopup': 'dialog' }, t('units.open'));
  button.addEventListener('click', () => withBusy(button, async () => {
    const tree = await ask(form, 'get-directory-tree', place);
    if (!tree) return;
    chooseUnit(unitTree(tree), {
      typed: form.values.organizationalUnit,
      base: form.values.baseDN.trim(),
      cut: tree.cut,
      signal: form.signal,
      onChoose: (unit) => {
        form.type('organizationalUnit', unit);
        form.app.announce(t('units.chosen'));
      },
    });
  }));
  form.beside('organizationalUnit', button, place);
}

/** Adds a button to the filter that counts the people it finds. */
export function addFilterCount(form) {
  if (!form.app.can('get-directory-tree')) return;
  const place = h('div', { class: 'ls-asked' });
  const result = h('div', { class: 'ls-counted', role: 'status' });
  const button = askingButton(form, 'get-directory-tree', t('count.button'), place, (tree, outdated) => {
    say(result, tree && !outdated ? countText(tree, form.values.organizationalUnit) : '');
  });
  button.setAttribute('aria-label', t('count.label'));
  form.beside('userFilter', button, place, result);
}

function countText(tree, unit) {
  const node = unitNamed(unitTree(tree), unit);
  if (!node) return t('count.unlisted', { count: tree.people });
  return node.total > 0 ? t('count.people', { count: node.total }) : t('count.nobody');
}

/** A button that reads the directory's attributes. They are then offered in every field for one, with what people have in them. */
export function attributeReader(form) {
  if (!form.app.can('get-directory-schema')) return null;
  const place = h('div', { class: 'ls-asked' });
  const told = h('p', { class: 'ls-hint', role: 'status' });
  const list = h('datalist', { id: uniqueId('attributes') });
  const notes = ATTRIBUTES.map((name) => [name, form.note(`attributes.${name}`)]);
  ATTRIBUTES.forEach((name) => form.controls.get(`attributes.${name}`).control.setAttribute('list', list.id));
  let listed = null;
  const button = askingButton(form, 'get-directory-schema', t('attributes.read'), place, (schema, outdated) => {
    say(told, schema ? lookedAt(schema, outdated) : '');
    if (schema && schema !== listed) fill(list, schema.attributes.map((attribute) => option(attribute, schema.people)));
    listed = schema || listed;
    notes.forEach(([name, note]) => showNote(note, schema && !outdated && noteFor(schema, name, form.values.attributes[name])));
  });
  return h('div', { class: 'ls-reader' }, h('div', { class: 'ls-actions' }, button), place, told, list);
}

/** Whose values are shown and how many people were looked at. */
function lookedAt({ people, sample }, outdated) {
  if (outdated) return t('attributes.outdated');
  if (people === 0) return t('attributes.nobody');
  if (!sample) return t('attributes.looked', { count: people });
  return t('attributes.lookedWithSample', { count: people, name: sample.name, dn: sample.dn });
}

/** An attribute to choose. Its name is in the label too, because some browsers show and search nothing but the label. */
function option({ name, description, filled, sample }, people) {
  let label = description && `${name}: ${description}`;
  if (filled > 0) label = t(sample ? 'attributes.optionWithSample' : 'attributes.option', { name, filled, people, sample });
  return h('option', { value: name, label: label || null });
}

/**
 * What is known of the attribute `typed` into the field `name`; null where there is nothing to say. Attributes are
 * compared as LDAP does, without options.
 */
function noteFor({ attributes, people, complete }, name, typed) {
  const comparable = (attribute) => attribute.trim().toLowerCase().split(';')[0];
  const wanted = comparable(typed);
  if (!wanted) return null;
  const found = attributes.find((attribute) => comparable(attribute.name) === wanted);
  if (!found) return complete ? { unknown: true, text: t('attributes.unknown') } : null;
  if (people === 0) return null;
  const { filled } = found;
  if (filled === 0) return { text: t('attributes.empty', { count: people }) };
  const sample = name !== SECRET && found.sample;
  return { text: t(sample ? 'attributes.filledWithSample' : 'attributes.filled', { count: people, filled, sample }) };
}

function showNote(line, note) {
  line.hidden = !note;
  line.classList.toggle('ls-unknown', Boolean(note && note.unknown));
  say(line, note ? note.text : '');
}

/**
 * A button that asks the directory for `action`. `show(data, outdated)` follows every change of the form: `data` is the
 * last answer or null, `outdated` whether settings it depends on have changed since.
 */
function askingButton(form, action, text, place, show) {
  let answer = null;
  const follow = () => show(answer && answer.data, Boolean(answer) && answer.decisive !== decisive(form.values));
  const button = h('button', { type: 'button', class: 'ui button' }, text);
  button.addEventListener('click', () => withBusy(button, async () => {
    const asked = decisive(form.values);
    const data = await ask(form, action, place);
    answer = data && { data, decisive: asked };
    follow();
  }));
  form.follow(follow);
  return button;
}

function decisive(values) {
  return JSON.stringify(DECISIVE.map((name) => String(values[name]).trim()));
}

/** Asks the directory with what is typed now. Answers null when that failed: why is shown beside the field, else in `place`. */
async function ask(form, action, place) {
  form.clearErrors();
  fill(place, loading(t('pickers.loading')));
  try {
    const { data } = await call(action, toBody(form.values));
    fill(place);
    return form.signal.aborted ? null : data;
  } catch (error) {
    fill(place);
    if (form.signal.aborted) return null;
    if (form.namesField(error)) form.showErrors(error, t('pickers.failed'));
    else fill(place, errorMessage(error, { title: t('pickers.failed') }));
    return null;
  }
}

/** Sets a text that screen readers are told of only when it is another one. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
