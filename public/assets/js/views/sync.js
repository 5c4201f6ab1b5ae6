// A synchronisation started here: that it runs, then what it did for each person.

import { call } from '../api.js';
import { fill, h, val } from '../dom.js';
import { badge, changeLine, notDone, personCell } from '../format.js';
import { t, tOr } from '../i18n.js';
import { emptyState, errorMessage, loading, message } from '../messages.js';
import { said, sentence } from '../sentences.js';
import { isRunning } from '../status.js';
import { dataTable } from '../table.js';
import { startSync } from './card.js';
import { noteLine } from './found.js';

/** People of one kind that are named. */
const FEW = 5;

const ORDER = ['CONFLICT', 'UPDATED', 'SKIPPED'];

/** Shows the section for `server`. */
export function showSync(app, panel, signal, server) {
  const job = app.jobs.get(String(server.id));
  if (!job) {
    fill(panel, emptyState(
      t(isRunning(server) ? 'sync.elsewhereTitle' : 'sync.emptyTitle'),
      t(isRunning(server) ? 'sync.elsewhereText' : 'sync.emptyText'),
      h('a', { class: 'ui button', href: '#/runs' }, t('tab.runs')),
    ));
    return;
  }
  job.subscribe(() => showJob(app, panel, job), signal);
  let started = job.state === 'running';
  job.subscribe(() => {
    if (started && job.state !== 'running') app.announce(endText(job));
    started = job.state === 'running';
  }, signal);
}

/** The kind and title of the message about a run whose answer is its record. */
function endOf(job) {
  if (job.ended !== 'done') return ['negative', failedTitle(job)];
  return job.state === 'ended' ? ['positive', t('sync.done')] : ['info', t('sync.recorded')];
}

function endText(job) {
  if (job.state === 'ended' && job.ended !== 'done') return `${failedTitle(job)}: ${said(job.summary)}`;
  if (job.state === 'failed') return failedTitle(job);
  return `${t('sync.done')} ${said(job.summary)}`;
}

function failedTitle({ order }) {
  if (order.heldRunId !== undefined) return t('held.notApproved');
  return t(order.planId ? 'sync.notApplied' : 'sync.failed');
}

/** After a preview that could not be applied, the way to a new one. */
function compareAgain({ order, serverId }) {
  return order.planId
    && h('a', { class: 'ui button', href: `#/servers/${encodeURIComponent(serverId)}/preview` }, t('preview.again'));
}

function showJob(app, panel, job) {
  const retry = Object.keys(job.order).length === 0 && (() => startSync(app, job.serverId));
  if (job.state === 'running') {
    fill(panel, loading(t('sync.running')), h('p', { class: 'ls-hint' }, t('sync.runningHint')));
  } else if (job.state === 'failed') {
    fill(panel, errorMessage(job.error, { title: failedTitle(job), retry }), compareAgain(job));
  } else if (job.state === 'recorded' || job.state === 'ended') {
    fill(panel, message(...endOf(job), [job.summary].filter(Boolean).map(sentence)), job.ended !== 'done' && compareAgain(job), recordedNames(app, job),
      app.can('get-run') && h('a', { class: 'ui button', href: `#/runs/${encodeURIComponent(job.runId)}` }, t('runs.details')));
  } else {
    fill(panel, message('positive', t('sync.done'), [job.summary].filter(Boolean).map(sentence)), names(changesOf(job.rows)),
      job.notes.length > 0 && message('info', t('notes.title'), job.notes.map(sentence)), resultTable(app, job.rows));
  }
}

/** Values that were written, with whose they are. */
function changesOf(rows) {
  return rows.flatMap((row) => (row.changes || []).map((change) => ({ ...change, person: row.name, directoryId: row.directoryId })));
}

/** The names of a run whose answer is its record. */
function recordedNames(app, job) {
  const place = h('div', {});
  if (app.can('get-run') && job.ended === 'done') {
    call('get-run', { runId: job.runId }).then(({ data }) => fill(place, names(data.changes || [])))
      .catch((error) => console.debug('no names:', error));
  }
  return place;
}

/** Who is new and whose values changed, by name where they are few. */
function names(changes) {
  const people = new Map();
  changes.filter((change) => !notDone(change.outcome)).forEach(({ directoryId, person, why }) => {
    const known = people.get(directoryId) || { person, isNew: false };
    people.set(directoryId, { person, isNew: known.isNew || why === 'new in the directory' });
  });
  const group = (label, isNew) => {
    const found = [...people.values()].filter((one) => one.isNew === isNew);
    if (found.length === 0 || found.length > FEW) return null;
    return h('div', {}, h('dt', {}, label), ' ', h('dd', {}, found.map((one, index) => [index > 0 && ', ', val(one.person || '–')])));
  };
  return h('dl', { class: 'ls-groups' }, group(t('sync.new'), true), group(t('sync.updated'), false));
}

function resultTable(app, rows) {
  if (rows.length === 0) return emptyState(t('sync.nobodyTitle'), t('sync.nobodyText'));
  const sorted = [...rows].sort((a, b) => ORDER.indexOf(a.usersSyncResult) - ORDER.indexOf(b.usersSyncResult));
  return [
    rows.some((row) => row.usersSyncResult === 'CONFLICT') && app.can('get-server-conflicts')
      && h('p', {}, h('a', { href: '#/conflicts' }, t('sync.toConflicts'))),
    dataTable({
      caption: t('sync.done'),
      rows: sorted,
      columns: resultColumns(),
      filters: [{ label: t('filter.all'), match: () => true }, ...ORDER.map((result) => ({
        label: t(`result.${result}`), match: (row) => row.usersSyncResult === result,
      }))],
      searchText: (row) => [row.name, row.number, row.mobile, row.email].join(' '),
    }),
  ];
}

function resultColumns() {
  const kinds = { UPDATED: 'info', SKIPPED: 'quiet', CONFLICT: 'warn' };
  return [
    {
      id: 'result', label: t('sync.result'), narrow: true,
      cell: (row) => badge(kinds[row.usersSyncResult] || 'quiet', tOr(`result.${row.usersSyncResult}`, row.usersSyncResult)),
    },
    { id: 'name', label: t('preview.person'), cell: personCell },
    {
      id: 'updated', label: t('sync.where'), narrow: true,
      cell: (row) => tOr(`changed.${row.userHadChangesOnTheSide}`, '–'),
    },
    {
      id: 'what', label: t('sync.what'),
      cell: (row) => [
        (row.changes || []).map(changeLine),
        (row.notes || []).map(noteLine),
        row.reason && h('div', { class: 'ls-reason' }, sentence(row.reason)),
      ],
    },
  ];
}
