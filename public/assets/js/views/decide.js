// Deciding about a conflict: one button for each choice the module allows, and what was decided already.

import { call } from '../api.js';
import { debounce, fill, h, uniqueId, val, withBusy } from '../dom.js';
import { badge } from '../format.js';
import { t, tOr } from '../i18n.js';
import { confirmAndDo, errorMessage, errorTexts } from '../messages.js';

/** What can be decided, in the order of the buttons. */
export const CHOICES = ['directory', 'pbx', 'link', 'create', 'exclude', 'ignore'];

/** How many employees a search in the question "which employee?" shows. */
const FOUND_AT_MOST = 8;

/**
 * What can be decided about `row`, a conflict. `decision` is the one of `get-decisions` that answers it, if any.
 * `onChange(text)` is called with what happened once something was decided or taken back.
 */
export function decisionPart(app, row, decision, onChange) {
  const problem = h('div', {});
  const doIt = tellingIn(problem, onChange);
  if (isDecided(row)) return h('div', { class: 'ls-decide' }, decided(app, row, decision, doIt), problem);
  const choices = app.can('resolve-conflict') ? inOrder(row.choices || []) : [];
  if (choices.length === 0) return null;
  return h('div', { class: 'ls-decide' },
    h('div', { class: 'ls-actions', role: 'group', 'aria-label': t('decide.of', { name: row.person || '' }) },
      choices.map((choice) => choiceButton(app, row, choice, doIt, onChange))),
    problem);
}

/** A `doIt(button, work)` that hands what `work` says to `onChange`, and shows in `problem` why it failed. */
export function tellingIn(problem, onChange) {
  return (button, work) => withBusy(button, async () => {
    fill(problem);
    try {
      onChange(await work());
    } catch (error) {
      fill(problem, errorMessage(error, { title: t('decide.failed') }));
    }
  });
}

/**
 * Whether the next run carries out what was decided about `row`. To ignore a conflict is done at once: one that is
 * shown all the same differs from the one that was ignored.
 */
export function isDecided(row) {
  return Boolean(row.decision) && row.decision !== 'ignore';
}

function inOrder(choices) {
  const place = (choice) => (CHOICES.includes(choice) ? CHOICES.indexOf(choice) : CHOICES.length);
  return [...choices].sort((a, b) => place(a) - place(b));
}

function choiceButton(app, row, choice, doIt, onChange) {
  const button = h('button', {
    type: 'button', class: 'ui small button', title: tOr(`choice.${choice}.hint`, null), dataset: { choice },
  }, tOr(`choice.${choice}`, choice));
  button.addEventListener('click', () => (choice === 'link'
    ? askEmployee(app, row, onChange)
    : doIt(button, async () => {
      await call('resolve-conflict', { recordId: row.id, choice });
      return t(`choice.${choice}.done`);
    })));
  return button;
}

/** What was decided on a row, until the next run carries it out. */
function decided(app, row, decision, doIt) {
  const back = decision && takeBackButton(app, decision, row.person, doIt);
  return [
    h('div', {}, badge('info', tOr(`decided.${row.decision}`, row.decision)),
      decision && decision.userId && h('span', { class: 'ls-muted' }, ' ', t('decide.employee', { id: String(decision.userId) }))),
    h('div', { class: 'ls-muted' }, t('decide.waits')),
    back && h('div', { class: 'ls-actions' }, back),
  ];
}

/** A button that takes a decision back; `doIt(button, work)` runs the work and tells of a failure. */
export function takeBackButton(app, decision, person, doIt) {
  if (!app.can('delete-decision')) return null;
  const button = h('button', {
    type: 'button', class: 'ui small button', dataset: { takeBack: decision.id }, 'aria-label': t('decide.takeBackOf', { name: person || '' }),
  }, t('decide.takeBack'));
  button.addEventListener('click', () => doIt(button, async () => {
    await call('delete-decision', { recordId: decision.id });
    return t('decide.takenBack');
  }));
  return button;
}

/** Asks which employee the person is: by id, or found among the people who are kept in step. */
async function askEmployee(app, row, onChange) {
  const inputId = uniqueId('employee');
  const hintId = uniqueId('hint');
  const input = h('input', {
    id: inputId, type: 'text', inputmode: 'numeric', autocomplete: 'off', autofocus: true, dataset: { field: 'userId' },
    'aria-describedby': hintId, value: row.userId ? String(row.userId) : '',
  });
  const who = app.can('explain-person') && whoIsIt(input);
  const linked = await confirmAndDo({
    title: t('link.title', { name: row.person || '' }),
    text: t('link.text'),
    content: [
      h('div', { class: 'field' }, h('label', { for: inputId }, t('link.id')), input,
        h('div', { class: 'ls-hint', id: hintId }, t(row.userId ? 'link.idHintKnown' : 'link.idHint')), who),
      app.can('get-people') && employeeSearch(row, (person) => {
        input.value = String(person.userId);
        input.dispatchEvent(new Event('input'));
        input.focus();
      }),
    ],
    button: t('link.do'),
    kind: 'primary',
    keep: t('button.cancel'),
    work: () => call('resolve-conflict', { recordId: row.id, choice: 'link', userId: input.value.trim() || null }),
  });
  if (linked) onChange(t('choice.link.done'));
}

/** Says who the employee with the id in `input` is: an id alone is soon mistaken for an internal number. */
function whoIsIt(input) {
  const place = h('div', { class: 'ls-who', role: 'status' });
  let request = 0;

  async function look() {
    const userId = input.value.trim();
    request += 1;
    const mine = request;
    let shown = null;
    if (userId) {
      try {
        const { data } = await call('explain-person', { userId });
        shown = t('link.who', { name: [data.name, data.number].filter(Boolean).join(', ') });
      } catch (error) {
        shown = errorTexts(error).map((text) => [text, ' ']);
      }
    }
    if (mine === request) fill(place, shown);
  }

  input.addEventListener('input', debounce(look, 250));
  look();
  return place;
}

/** A search among the people in step; `onChoose(person)`. Who is in use under another entry cannot be chosen. */
function employeeSearch(row, onChoose) {
  const id = uniqueId('search');
  const input = h('input', { id, type: 'search', autocomplete: 'off', dir: 'auto' });
  const found = h('div', { class: 'ls-found', role: 'status' });
  let request = 0;

  input.addEventListener('input', debounce(async () => {
    const search = input.value.trim();
    request += 1;
    const mine = request;
    if (!search) {
      fill(found);
      return;
    }
    try {
      const { data } = await call('get-people', { search, perPage: FOUND_AT_MOST });
      if (mine === request) fill(found, results(data.people));
    } catch (error) {
      if (mine === request) fill(found, errorMessage(error));
    }
  }, 250));

  function results(people) {
    const free = people.filter((person) => person.userId > 0
      && !(person.state === 'active' && String(person.serverId) === String(row.serverId)));
    if (free.length === 0) return h('p', { class: 'ls-hint' }, t(people.length ? 'link.taken' : 'link.nobody'));
    return free.map((person) => h('button', {
      type: 'button', class: 'ui small basic button', on: { click: () => onChoose(person) },
    }, val([person.name, person.number].filter(Boolean).join(', '))));
  }

  return h('div', { class: 'field' }, h('label', { for: id }, t('link.search')), input, found);
}
