// The history: every run and what it changed.

import { call } from '../api.js';
import { fill, h, val } from '../dom.js';
import { fetchedExportButtons, fileName } from '../export.js';
import {
  badge, duration, fieldName, fieldText, fieldValue, moment, notDone, outcomeSentence, outcomeText, runSummary, sideName,
} from '../format.js';
import { t, tOr } from '../i18n.js';
import { emptyState, errorMessage, loading, message } from '../messages.js';
import { said, sentence } from '../sentences.js';
import { serverTitle } from '../status.js';
import { dataTable } from '../table.js';
import { stateBadge } from './card.js';
import { perServer } from './conflicts.js';

/** Shows the list of runs. */
export function showRuns(app, place, signal) {
  const body = h('div', {});
  fill(place, h('h1', { class: 'ui header' }, t('runs.title')), h('p', { class: 'ls-hint' }, t('runs.hint')), body);
  load();

  async function load() {
    fill(body, loading());
    try {
      const lists = await perServer('get-runs', (data) => data);
      if (signal.aborted) return;
      const runs = lists.flatMap(({ server, rows }) => rows.map((run) => ({ ...run, server })))
        .sort((a, b) => b.startedAt - a.startedAt);
      fill(body, runs.length ? runTable(app, runs, lists.length > 1) : emptyState(t('runs.emptyTitle'), t('runs.emptyText'),
        h('a', { class: 'ui button', href: '#/' }, t('overview.back'))));
    } catch (error) {
      if (!signal.aborted) fill(body, errorMessage(error, { retry: load }));
    }
  }
}

function runTable(app, runs, named) {
  const columns = [
    { id: 'started', label: t('runs.started'), narrow: true, cell: (run) => moment(run.startedAt) },
    named && { id: 'server', label: t('people.server'), cell: (run) => val(serverTitle(run.server)) },
    { id: 'kind', label: t('runs.kind'), narrow: true, cell: (run) => tOr(`kind.${run.kind}`, run.kind || '–') },
    { id: 'state', label: t('runs.state'), narrow: true, cell: (run) => stateBadge(run.state) },
    {
      id: 'summary', label: t('runs.summary'),
      cell: (run) => [runSummary(run) && h('div', {}, val(runSummary(run))), run.error && h('div', { class: 'ls-conflict' }, sentence(run.error))],
    },
    { id: 'took', label: t('runs.took'), narrow: true, cell: (run) => (run.endedAt ? duration(run.endedAt - run.startedAt) : '–') },
    app.can('get-run') && {
      id: 'details', label: '', narrow: true,
      cell: (run) => h('a', {
        class: 'ui small basic button', href: `#/runs/${encodeURIComponent(run.runId)}`,
        'aria-label': `${t('runs.details')}, ${moment(run.startedAt).textContent}`,
      }, t('runs.details')),
    },
  ].filter(Boolean);
  return dataTable({
    caption: t('runs.title'),
    rows: runs,
    columns,
    searchText: (run) => [runSummary(run), said(run.error), tOr(`kind.${run.kind}`, ''), tOr(`state.${run.state}`, ''), serverTitle(run.server)].join(' '),
  });
}

/** Shows one run with its changes. */
export function showRun(app, place, signal, runId) {
  const body = h('div', {});
  fill(place, h('a', { class: 'ls-back', href: '#/runs' }, h('span', { 'aria-hidden': 'true' }, '← '), t('tab.runs')),
    h('h1', { class: 'ui header' }, t('runs.one')), body);
  load();

  async function load() {
    fill(body, loading());
    try {
      const { data } = await call('get-run', { runId });
      if (!signal.aborted) fill(body, runFacts(app, data), changeTable(app, data));
    } catch (error) {
      if (!signal.aborted) fill(body, errorMessage(error, { retry: load }));
    }
  }
}

function runFacts(app, run) {
  const server = app.status.server(run.serverId);
  const fact = (label, ...content) => h('div', { class: 'ls-fact' }, h('dt', {}, label), h('dd', {}, content));
  return [
    h('div', { class: 'ui segment ls-card' }, h('dl', { class: 'ls-facts' },
      fact(t('runs.started'), h('div', { class: 'ls-fact-main' }, moment(run.startedAt), ' ', stateBadge(run.state)),
        server && h('div', { class: 'ls-fact-more' }, val(serverTitle(server)))),
      fact(t('runs.kind'), h('div', { class: 'ls-fact-main' }, tOr(`kind.${run.kind}`, run.kind || '–')),
        run.endedAt && h('div', { class: 'ls-fact-more' }, duration(run.endedAt - run.startedAt))),
      runSummary(run) && fact(t('runs.summary'), h('div', { class: 'ls-fact-main' }, val(runSummary(run)))))),
    run.error && message('negative', t('runs.failed'), [sentence(run.error)]),
  ];
}

/** The changes of a run; `changeCount` is how many it made, of which the module answers only the first of very many. */
function changeTable(app, run) {
  const { changes = [], changeCount: count } = run;
  if (changes.length === 0) return emptyState(t('runs.noChangesTitle'), t('runs.noChangesText'));
  const sides = ['pbx', 'directory'];
  const problem = h('div', {});
  return h('section', { class: 'ls-section' },
    h('div', { class: 'ls-section-head' }, h('h2', { class: 'ui header' }, t('runs.changes')),
      app.can('export-run') && h('div', { class: 'ls-actions' }, runExport(run, problem))),
    problem,
    count > changes.length && h('p', { class: 'ls-summary' }, t('runs.changesCut', { shown: changes.length, count })),
    dataTable({
    caption: t('runs.changes'),
    rows: changes,
    columns: [
      { id: 'person', label: t('preview.person'), cell: (change) => h('strong', { class: 'ls-name' }, val(change.person || '–')) },
      { id: 'field', label: t('runs.field'), cell: (change) => [fieldName(change.field), h('div', { class: 'ls-muted' }, sideName(change.side))] },
      { id: 'old', label: t('runs.old'), cell: (change) => fieldValue(change.field, change.old) },
      { id: 'new', label: t('runs.new'), cell: (change) => fieldValue(change.field, change.new) },
      { id: 'why', label: t('runs.why'), cell: (change) => (change.why ? sentence(change.why) : '–') },
      { id: 'outcome', label: t('runs.outcome'), cell: (change) => outcomeCell(change.outcome) },
    ],
    filters: [{ label: t('filter.all'), match: () => true },
      ...sides.map((side) => ({ label: sideName(side), match: (change) => change.side === side }))],
    searchText: (change) => [change.person, fieldName(change.field), change.old, change.new, said(change.why)].join(' '),
  }));
}

/** Buttons that save all changes of a run; `problem` is where a failure is shown. */
function runExport(run, problem) {
  const columns = [
    { label: t('preview.person'), value: (change) => change.person },
    { label: t('runs.field'), value: (change) => fieldName(change.field) },
    { label: t('export.side'), value: (change) => sideName(change.side) },
    { label: t('runs.old'), value: (change) => fieldText(change.field, change.old) },
    { label: t('runs.new'), value: (change) => fieldText(change.field, change.new) },
    { label: t('runs.why'), value: (change) => said(change.why) },
    { label: t('runs.outcome'), value: (change) => outcomeText(change.outcome) },
    { label: t('export.directoryId'), value: (change) => change.directoryId },
  ];
  return fetchedExportButtons(fileName('run', run.runId, run.startedAt), columns, async () => {
    fill(problem);
    try {
      const { data } = await call('export-run', { runId: run.runId });
      return { rows: data.changes, data };
    } catch (error) {
      fill(problem, errorMessage(error, { title: t('export.failed') }));
      return null;
    }
  });
}

/** Whether a change was made, and if not, why. */
export function outcomeCell(outcome) {
  if (!outcome) return '–';
  if (!notDone(outcome)) return badge('good', t('outcome.done'));
  return [badge('bad', t('outcome.notDone')), h('div', { class: 'ls-reason' }, outcomeSentence(outcome))];
}
