// What a synchronisation could not do, why, and what is to be done about it.

import { call } from '../api.js';
import { fill, h, val } from '../dom.js';
import { bothValues, conflictReason, fieldName, moment, sideName } from '../format.js';
import { t, tOr } from '../i18n.js';
import { confirmAndDo, emptyState, errorMessage, loading } from '../messages.js';
import { said } from '../sentences.js';
import { serverTitle } from '../status.js';
import { dataTable } from '../table.js';
import { startSync } from './card.js';
import { CHOICES, decisionPart, isDecided } from './decide.js';
import { decisionsSection } from './decisions.js';
import { personLink } from './people.js';

/** Shows the view. */
export function showConflicts(app, place, signal) {
  const body = h('div', {});
  const heading = h('h1', { class: 'ui header', tabindex: '-1' }, t('conflicts.title'));
  fill(place, heading, h('p', { class: 'ls-hint' }, t('conflicts.hint')), app.can('resolve-conflict') && choicesExplained(), body);
  load();

  async function load() {
    if (!body.hasChildNodes()) fill(body, loading());
    try {
      const lists = await perServer('get-server-conflicts', (data) => data);
      const decisions = app.can('get-decisions') ? (await call('get-decisions')).data : [];
      if (signal.aborted) return;
      const conflicts = lists.flatMap(({ rows }) => rows);
      fill(body, conflicts.length > 0
        ? lists.filter(({ rows }) => rows.length > 0).map((list) => serverConflicts(list, decisions, lists.length > 1))
        : emptyState(t('conflicts.emptyTitle'), t('conflicts.emptyText')),
      decisionsSection(app, decisions.filter((decision) => !conflicts.some((row) => answers(decision, row))), changed));
    } catch (error) {
      if (!signal.aborted) fill(body, errorMessage(error, { retry: load }));
    }
  }

  async function changed(text) {
    app.announce(text);
    await load();
    heading.focus({ preventScroll: true });
  }

  function serverConflicts({ server, rows }, decisions, named) {
    const sorted = [...rows].sort((a, b) => b.lastTime - a.lastTime);
    const all = app.can('delete-server-conflicts') && h('button', {
      type: 'button', class: 'ui button', on: { click: () => removeAll(server, rows.length) },
    }, t('conflicts.deleteAll'));
    return h('section', { class: 'ls-section' },
      h('div', { class: 'ls-section-head' },
        named ? h('h2', { class: 'ui header' }, val(serverTitle(server)))
          : h('span', { class: 'ls-summary' }, t('conflicts.count', { count: rows.length })),
        all),
      decidedNote(server, rows.filter(isDecided).length),
      dataTable({
        caption: t('conflicts.title'),
        rows: sorted,
        columns: columns(decisions),
        searchText: (row) => [
          row.person, row.directoryValue, row.pbxValue, tOr(`cause.${row.cause}`, row.cause || ''), ...errors(row).map(said),
        ].join(' '),
      }));
  }

  /** Says that decisions wait for a run, and offers to make it. */
  function decidedNote(server, count) {
    if (count === 0) return null;
    return h('div', { class: 'ui info message ls-line-message' }, h('span', {}, t('decide.waiting', { count })),
      app.can('sync-ldap-users') && h('button', { type: 'button', class: 'ui small button', on: { click: () => startSync(app, server.id) } }, t('action.sync')));
  }

  function columns(decisions) {
    return [
      {
        id: 'person', label: t('conflicts.person'),
        cell: (row) => [row.person ? personLink(app, { name: row.person, userId: row.userId }) : '–',
          h('div', { class: 'ls-muted' }, [row.field && fieldName(row.field), row.side && sideName(row.side)].filter(Boolean).join(' · '))],
      },
      { id: 'values', label: t('conflicts.values'), wide: true, cell: valuesCell },
      {
        id: 'reason', label: t('conflicts.reason'), wide: true,
        cell: (row) => [conflictReason(row.cause, errors(row)),
          decisionPart(app, row, decisions.find((decision) => answers(decision, row)), changed)],
      },
      {
        id: 'time', label: t('conflicts.lastTime'), narrow: true,
        cell: (row) => [moment(row.lastTime), row.count > 1 && h('div', { class: 'ls-muted' }, t('conflicts.times', { count: row.count }))],
      },
      app.can('delete-server-conflict') && { id: 'delete', label: '', narrow: true, cell: deleteButton },
    ].filter(Boolean);
  }

  function deleteButton(row) {
    return h('button', {
      type: 'button', class: 'ui small basic button', 'aria-label': t('conflicts.deleteOf', { name: row.person || '' }),
      on: { click: () => removeOne(row) },
    }, t('button.delete'));
  }

  async function removeOne(row) {
    await remove({
      title: t('conflicts.deleteTitle'),
      text: t('conflicts.deleteText'),
      button: t('button.delete'),
      work: () => call('delete-server-conflict', { recordId: row.id }),
    }, t('conflicts.deleted'));
  }

  async function removeAll(server, count) {
    await remove({
      title: t('conflicts.deleteAllTitle', { count }),
      text: t('conflicts.deleteText'),
      button: t('conflicts.deleteAll'),
      work: () => call('delete-server-conflicts', { id: server.id }),
    }, t('conflicts.deletedAll'));
  }

  async function remove(question, doneText) {
    if (await confirmAndDo(question)) await changed(doneText);
  }
}

/** What each choice means, to be opened by whoever wants to know. */
function choicesExplained() {
  return h('details', { class: 'ls-details' }, h('summary', {}, t('decide.explain')),
    h('dl', { class: 'ls-pairs' }, CHOICES.map((choice) => [
      h('dt', {}, t(`choice.${choice}`)), h('dd', {}, t(`choice.${choice}.hint`))])));
}

/** Both values, or nothing where the conflict is about no value. */
function valuesCell(row) {
  if (!row.directoryValue && !row.pbxValue) return '–';
  return bothValues(row.field, row.directoryValue, row.pbxValue);
}

/** Whether `decision` is the one that a conflict's row shows. */
function answers(decision, row) {
  return String(decision.serverId) === String(row.serverId) && decision.directoryId === row.directoryId
    && isDecided(row) && decision.choice === row.decision && (!decision.field || decision.field === row.field);
}

/** Asks `action` for every server and answers `{ server, rows }` for each, in the servers' order. */
export async function perServer(action, rowsOf) {
  const { data } = await call('get-status');
  return Promise.all((data.servers || []).map(async (server) => (
    { server, rows: rowsOf((await call(action, { id: server.id })).data || []) })));
}

function errors(row) {
  return [].concat(row.errors || []).map(String);
}
