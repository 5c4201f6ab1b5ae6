// A synchronisation started here: that it runs, then what it did for each person.

import { fill, h, val } from '../dom.js';
import { badge, changeLine, personCell } from '../format.js';
import { t, tOr } from '../i18n.js';
import { emptyState, errorMessage, loading, message } from '../messages.js';
import { isRunning } from '../status.js';
import { dataTable } from '../table.js';
import { startSync } from './card.js';
import { noteLine } from './found.js';

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
  if (job.state === 'ended' && job.ended !== 'done') return `${failedTitle(job)}: ${job.summary}`;
  if (job.state === 'failed') return failedTitle(job);
  return `${t('sync.done')} ${job.summary}`;
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
    fill(panel, message(...endOf(job), [job.summary].filter(Boolean)), job.ended !== 'done' && compareAgain(job),
      app.can('get-run') && h('a', { class: 'ui button', href: `#/runs/${encodeURIComponent(job.runId)}` }, t('runs.details')));
  } else {
    fill(panel, message('positive', t('sync.done'), [job.summary].filter(Boolean)),
      job.notes.length > 0 && message('info', t('notes.title'), job.notes), resultTable(app, job.rows));
  }
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
      id: 'what', label: t('sync.what'),
      cell: (row) => [
        row.userHadChangesOnTheSide && h('div', { class: 'ls-muted' }, tOr(`changed.${row.userHadChangesOnTheSide}`, '')),
        (row.changes || []).map(changeLine),
        (row.notes || []).map(noteLine),
        row.reason && h('div', { class: 'ls-reason' }, val(row.reason)),
      ],
    },
  ];
}
