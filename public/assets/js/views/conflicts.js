// What a synchronisation could not do, and why.

import { call } from '../api.js';
import { fill, h, val } from '../dom.js';
import { fieldName, fieldValue, moment, sideName } from '../format.js';
import { t, tOr } from '../i18n.js';
import { confirmAndDo, emptyState, errorMessage, loading } from '../messages.js';
import { serverTitle } from '../status.js';
import { dataTable } from '../table.js';

/** Shows the view. */
export function showConflicts(app, place, signal) {
  const body = h('div', {});
  const heading = h('h1', { class: 'ui header', tabindex: '-1' }, t('conflicts.title'));
  fill(place, heading, h('p', { class: 'ls-hint' }, t('conflicts.hint')), body);
  load();

  async function load() {
    if (!body.hasChildNodes()) fill(body, loading());
    try {
      const lists = await perServer('get-server-conflicts', (data) => data);
      if (signal.aborted) return;
      fill(body, lists.some(({ rows }) => rows.length > 0)
        ? lists.filter(({ rows }) => rows.length > 0).map((list) => serverConflicts(list, lists.length > 1))
        : emptyState(t('conflicts.emptyTitle'), t('conflicts.emptyText')));
    } catch (error) {
      if (!signal.aborted) fill(body, errorMessage(error, { retry: load }));
    }
  }

  function serverConflicts({ server, rows }, named) {
    const sorted = [...rows].sort((a, b) => b.lastTime - a.lastTime);
    const all = app.can('delete-server-conflicts') && h('button', {
      type: 'button', class: 'ui button', on: { click: () => removeAll(server, rows.length) },
    }, t('conflicts.deleteAll'));
    return h('section', { class: 'ls-section' },
      h('div', { class: 'ls-section-head' },
        named ? h('h2', { class: 'ui header' }, val(serverTitle(server)))
          : h('span', { class: 'ls-summary' }, t('conflicts.count', { count: rows.length })),
        all),
      dataTable({
        caption: t('conflicts.title'),
        rows: sorted,
        columns: columns(),
        searchText: (row) => [personName(row.person), row.directoryValue, row.pbxValue, ...errors(row)].join(' '),
      }));
  }

  function columns() {
    return [
      {
        id: 'person', label: t('conflicts.person'),
        cell: (row) => [h('strong', { class: 'ls-name' }, val(personName(row.person) || '–')),
          h('div', { class: 'ls-muted' }, [row.field && fieldName(row.field), row.side && sideName(row.side)].filter(Boolean).join(' · '))],
      },
      { id: 'reason', label: t('conflicts.reason'), cell: (row) => [h('strong', {}, tOr(`cause.${row.cause}`, '')), errors(row).map((text) => h('div', { class: 'ls-reason' }, val(text)))].flat() },
      { id: 'directory', label: t('side.directory'), cell: (row) => fieldValue(row.field, row.directoryValue) },
      { id: 'pbx', label: t('side.pbx'), cell: (row) => fieldValue(row.field, row.pbxValue) },
      {
        id: 'time', label: t('conflicts.lastTime'), narrow: true,
        cell: (row) => [moment(row.lastTime), row.count > 1 && h('div', { class: 'ls-muted' }, t('conflicts.times', { count: row.count }))],
      },
      app.can('delete-server-conflict') && { id: 'delete', label: '', narrow: true, cell: deleteButton },
    ].filter(Boolean);
  }

  function deleteButton(row) {
    return h('button', {
      type: 'button', class: 'ui small basic button', 'aria-label': t('conflicts.deleteOf', { name: personName(row.person) }),
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
    if (!await confirmAndDo(question)) return;
    app.announce(doneText);
    await load();
    heading.focus();
  }
}

/** Asks `action` for every server and answers `{ server, rows }` for each, in the servers' order. */
export async function perServer(action, rowsOf) {
  const { data } = await call('get-status');
  return Promise.all((data.servers || []).map(async (server) => (
    { server, rows: rowsOf((await call(action, { id: server.id })).data || []) })));
}

function personName(person) {
  return person && typeof person === 'object' ? person.name || person.email || '' : person || '';
}

function errors(row) {
  const texts = [].concat(row.errors || []).map(String);
  return texts.length ? texts : [tOr(`cause.${row.cause}`, row.cause || '')];
}
