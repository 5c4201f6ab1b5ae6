// One employee: where each value came from, what waits, and what changed lately.

import { call, insideMikoPbx } from '../api.js';
import { fill, h, val } from '../dom.js';
import {
  badge, bothValues, changeLine, conflictReason, day, fieldName, fieldValue, moment, personState, sideName,
} from '../format.js';
import { t, tOr } from '../i18n.js';
import { emptyState, errorMessage, loading } from '../messages.js';
import { photo } from '../photos.js';
import { said, sentence } from '../sentences.js';
import { dataTable, plainTable } from '../table.js';
import { outcomeCell } from './runs.js';

/** Shows the employee `userId`. */
export function showPerson(app, place, signal, userId) {
  const body = h('div', {});
  const heading = h('h1', { class: 'ui header' }, t('person.title'));
  const head = h('div', { class: 'ls-person-head' }, heading);
  fill(place, h('a', { class: 'ls-back', href: '#/' }, h('span', { 'aria-hidden': 'true' }, '← '), t('overview.back')), head, body);
  load();

  async function load() {
    fill(body, loading());
    try {
      const { data } = await call('explain-person', { userId });
      if (signal.aborted) return;
      fill(heading, val(data.name || t('person.title')));
      fill(head, headPhoto(app, data), heading);
      fill(body, facts(data),
        data.servers.length > 0 ? data.servers.map((server) => serverPart(app, server))
          : emptyState(t('person.notLinkedTitle'), t('person.notLinkedText')),
        conflictsPart(data.conflicts), changesPart(app, data.changes));
    } catch (error) {
      if (!signal.aborted) fill(body, errorMessage(error, { retry: load }));
    }
  }
}

/** The photo of somebody who is linked. */
function headPhoto(app, person) {
  const [server] = person.servers;
  return server && photo(app, server.serverId, server.directoryId, person.name);
}

function facts(person) {
  const fact = (label, content) => h('div', { class: 'ls-fact' }, h('dt', {}, label),
    h('dd', {}, h('div', { class: 'ls-fact-main' }, content)));
  const card = insideMikoPbx() && h('a', {
    class: 'ui button', href: `${window.globalRootUrl}extensions/modify/${encodeURIComponent(person.userId)}`,
  }, t('person.card'));
  return h('div', { class: 'ui segment ls-card' }, card, h('dl', { class: 'ls-facts ls-facts-even' },
    ['number', 'mobile', 'email'].map((field) => fact(fieldName(field), fieldValue(field, person[field]))),
    fact(t('leavers.account'), person.accountOff ? badge('warn', t('leavers.accountOff')) : badge('good', t('leavers.accountOn')))));
}

function serverPart(app, server) {
  const table = plainTable({ caption: t('person.values'), columns: fieldColumns(app) });
  table.show(server.fields);
  return h('section', { class: 'ls-section' },
    h('div', { class: 'ls-person-server' }, h('h2', { class: 'ui header' }, val(server.server)), personState(server.state),
      h('span', { class: 'ls-muted' }, t('person.since'), ' ', day(server.since))),
    h('p', { class: 'ls-hint ls-code' }, val(server.dn)),
    server.state !== 'active' && h('p', { class: 'ls-hint' }, tOr(`leavers.why.${server.state}`, said(server.reason))),
    h('p', { class: 'ls-hint' }, t('person.hint')),
    h('div', { class: 'ls-data' }, table.element));
}

function fieldColumns(app) {
  return [
    {
      id: 'field', label: t('runs.field'), narrow: true,
      cell: (row) => [h('strong', {}, fieldName(row.field)), h('div', { class: 'ls-code ls-muted' }, val(row.attribute))],
    },
    { id: 'pbx', label: t('person.now'), cell: (row) => fieldValue(row.field, row.pbx) },
    { id: 'agreed', label: t('person.agreed'), cell: agreedCell },
    {
      id: 'rule', label: t('person.rule'),
      cell: (row) => [h('div', {}, tOr(`direction.${row.direction}`, row.direction)),
        row.direction === 'two-way' && h('div', { class: 'ls-muted' }, tOr(`bothChanged.${row.bothChanged}`, row.bothChanged))],
    },
    { id: 'waits', label: t('person.waits'), cell: waitsCell },
    { id: 'last', label: t('person.lastChange'), cell: (row) => (row.lastChange ? lastChange(app, row.lastChange) : '–') },
  ];
}

/** What both sides held when they last agreed: one value, or two spellings of it. */
function agreedCell({ field, agreed }) {
  if (!agreed) return h('span', { class: 'ls-muted' }, t('person.neverCompared'));
  if (agreed.directory === agreed.pbx) return fieldValue(field, agreed.pbx);
  return bothValues(field, agreed.directory, agreed.pbx);
}

function waitsCell({ field, unsettled }) {
  if (unsettled.length === 0) return '–';
  return unsettled.map((one) => h('div', {}, h('span', { class: 'ls-muted' }, sideName(one.side), ': '), fieldValue(field, one.value),
    h('div', { class: 'ls-muted' }, t('person.waitsSince'), ' ', moment(one.since))));
}

function lastChange(app, change) {
  return [
    h('div', {}, fieldValue(change.field, change.old), h('span', { 'aria-hidden': 'true' }, ' → '), fieldValue(change.field, change.new)),
    h('div', { class: 'ls-muted' }, sideName(change.side), ': ', sentence(change.why)),
    runLink(app, change.runId),
  ];
}

function runLink(app, runId) {
  if (!app.can('get-run')) return null;
  return h('a', { href: `#/runs/${encodeURIComponent(runId)}` }, t('person.run', { id: String(runId) }));
}

function conflictsPart(conflicts) {
  if (conflicts.length === 0) return null;
  return h('section', { class: 'ls-section' }, h('h2', { class: 'ui header' }, t('conflicts.title')),
    h('div', { class: 'ui segment' }, conflicts.map((conflict) => h('div', { class: 'ls-conflict' },
      conflict.field && h('span', { class: 'ls-change-field' }, fieldName(conflict.field), ': '),
      conflictReason(conflict.cause, [conflict.reason].filter(Boolean)))),
    h('div', { class: 'ls-actions' }, h('a', { class: 'ui small button', href: '#/conflicts' }, t('person.toConflicts')))));
}

function changesPart(app, changes) {
  return h('section', { class: 'ls-section' }, h('h2', { class: 'ui header' }, t('person.changes')),
    changes.length === 0 ? emptyState(t('person.noChangesTitle'), t('person.noChangesText')) : dataTable({
      caption: t('person.changes'),
      rows: changes,
      columns: [
        { id: 'run', label: t('runs.one'), narrow: true, cell: (change) => runLink(app, change.runId) || String(change.runId) },
        { id: 'what', label: t('sync.what'), cell: (change) => changeLine({ ...change, outcome: null }) },
        { id: 'outcome', label: t('runs.outcome'), cell: (change) => outcomeCell(change.outcome) },
      ],
    }));
}
