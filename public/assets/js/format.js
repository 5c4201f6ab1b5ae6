// Times, durations and values as a person reads them.

import { h, val, srOnly } from './dom.js';
import { currentLanguage, t, tOr } from './i18n.js';
import { said, sentence } from './sentences.js';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Date and time of `ms` (Unix milliseconds) as a `<time>` element. */
export function moment(ms) {
  if (!ms) return h('span', {}, '–');
  const date = new Date(ms);
  const text = date.toLocaleString(currentLanguage(), { dateStyle: 'medium', timeStyle: 'short' });
  return h('time', { datetime: date.toISOString() }, text);
}

/** The date of `ms` (Unix milliseconds) as a `<time>` element. */
export function day(ms) {
  if (!ms) return h('span', {}, '–');
  const date = new Date(ms);
  return h('time', { datetime: date.toISOString() }, date.toLocaleDateString(currentLanguage(), { dateStyle: 'medium' }));
}

/** How far `ms` is from now: "5 minutes ago", "in 3 minutes". */
export function relative(ms) {
  const distance = ms - Date.now();
  const size = Math.abs(distance);
  const format = new Intl.RelativeTimeFormat(currentLanguage(), { numeric: 'auto' });
  if (size < 45 * SECOND) return t(distance < 0 ? 'time.justNow' : 'time.soon');
  if (size < 45 * MINUTE) return format.format(Math.round(distance / MINUTE), 'minute');
  if (size < 22 * HOUR) return format.format(Math.round(distance / HOUR), 'hour');
  return format.format(Math.round(distance / DAY), 'day');
}

/** A length of time given in milliseconds. */
export function duration(ms) {
  if (!(ms >= 0)) return '–';
  if (ms < SECOND) return t('time.lessThanSecond');
  const units = [['hour', HOUR], ['minute', MINUTE], ['second', SECOND]];
  let rest = Math.round(ms / SECOND) * SECOND;
  const parts = units.map(([unit, size]) => {
    const amount = Math.floor(rest / size);
    rest -= amount * size;
    return [unit, amount];
  }).filter(([, amount]) => amount > 0);
  return parts.slice(0, 2).map(([unit, amount]) => (
    new Intl.NumberFormat(currentLanguage(), { style: 'unit', unit, unitDisplay: 'long' }).format(amount))).join(' ');
}

/** The name of a field of a person. */
export function fieldName(field) {
  return tOr(`field.${field}`, field || '');
}

/** Values that are told by a word: nobody is shown a secret or a photo's hash. */
const WORDS = {
  photo: () => t('value.photo'), secret: () => t('value.secret'), account: (value) => tOr(`account.${value}`, value),
};

/** A field's value; of a photo and a SIP secret only that there is one. */
export function fieldValue(field, value) {
  const text = fieldText(field, value);
  if (text === '') return h('span', { class: 'ls-empty-value' }, t('value.empty'));
  return Object.hasOwn(WORDS, field) ? h('span', {}, text) : val(text);
}

/** The same as text, empty where there is no value. */
export function fieldText(field, value) {
  if (value === null || value === undefined || value === '') return '';
  return Object.hasOwn(WORDS, field) ? WORDS[field](value) : String(value);
}

/** The name of the side a change happens on. */
export function sideName(side) {
  return tOr(`side.${side}`, side || '');
}

/** One change: field, side, old → new and the reason; one that was not made says so, with why. */
export function changeLine(change) {
  const missed = notDone(change.outcome);
  return h('div', { class: missed ? 'ls-change ls-change-missed' : 'ls-change' },
    missed && [badge('bad', t('outcome.notDone')), ' '],
    h('span', { class: 'ls-change-field' }, fieldName(change.field)), ' ',
    h('span', { class: 'ls-change-side' }, tOr(`side.${change.side}.inside`, change.side || ''), ':'), ' ',
    h('span', { class: 'ls-change-values' },
      srOnly(t('change.from')), fieldValue(change.field, change.old),
      h('span', { 'aria-hidden': 'true', class: 'ls-arrow' }, ' → '), srOnly(t('change.to')),
      fieldValue(change.field, change.new)),
    change.why && h('span', { class: 'ls-why' }, ' ', sentence(change.why)),
    missed && h('div', { class: 'ls-reason' }, outcomeSentence(change.outcome)));
}

/** Whether `outcome` tells that a change was not made; a change of a preview has none. */
export function notDone(outcome) {
  return Boolean(outcome) && outcome !== 'done';
}

/** The words of an outcome: the page's own where it has them, else the sentence the module gave. */
export function outcomeText(outcome) {
  return tOr(`outcome.${outcome}`, said(outcome));
}

/** The same as an element. */
export function outcomeSentence(outcome) {
  const own = tOr(`outcome.${outcome}`, '');
  return own ? h('span', {}, own) : sentence(outcome);
}

/** Both sides' values, one under the other, so that the difference is seen at a glance. */
export function bothValues(field, directoryValue, pbxValue) {
  return h('dl', { class: 'ls-both' }, [['directory', directoryValue], ['pbx', pbxValue]].map(([side, value]) => (
    h('div', {}, h('dt', {}, sideName(side)), h('dd', {}, fieldValue(field, value))))));
}

/** Where a linked person stands in the directory. */
export function personState(state) {
  const kinds = { active: 'good', disabled: 'quiet', expired: 'quiet', absent: 'warn', moved: 'warn' };
  return badge(kinds[state] || 'quiet', tOr(`personState.${state}`, state || '–'));
}

/** A person's name with number, mobile and e-mail beneath it. */
export function personCell(person) {
  const contact = [person.number, person.mobile, person.email].filter(Boolean);
  return [
    h('strong', { class: 'ls-name' }, val(person.name || '–')),
    h('div', { class: 'ls-muted' }, contact.map((value, index) => [index > 0 && ' · ', val(value)])),
  ];
}

/** A coloured word for a state; the word carries the meaning, the colour repeats it. */
export function badge(kind, text) {
  return h('span', { class: `ui label ls-badge ls-badge-${kind}` }, text);
}

/** The kinds of people a run counts, in the order of its sentence. */
const RUN_COUNTS = ['create', 'adopt', 'update', 'writeBack', 'conflict', 'departed', 'stopped', 'started', 'deleted'];

/** What a run did, in the page's language: from its counts, or where they are missing the module's own sentence. */
export function runSummary(run) {
  const counts = run.counts || {};
  if (!('create' in counts)) return said(run.summary || '');
  const told = RUN_COUNTS.filter((kind) => counts[kind] > 0).map((kind) => t(`run.count.${kind}`, { count: counts[kind] }));
  const held = (counts.held || []).length;
  if (held) told.push(t('run.count.held', { count: held }));
  return told.length ? told.join('; ') : t('run.upToDate');
}

/** Why a conflict waits: its cause, then the module's `sentences`. */
export function conflictReason(cause, sentences) {
  return [
    h('strong', {}, tOr(`cause.${cause}`, cause || '')),
    sentences.map((text) => h('div', { class: 'ls-reason' }, sentence(text))),
  ];
}
