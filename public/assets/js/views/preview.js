// Exactly what a synchronisation would do, person by person, before anything is changed.

import { call } from '../api.js';
import { fill, h, setDisabled, withBusy } from '../dom.js';
import { exportButtons, fileName } from '../export.js';
import {
  badge, changeLine, conflictReason, fieldName, fieldText, fieldValue, personCell, personState, sideName,
} from '../format.js';
import { t, tOr } from '../i18n.js';
import { emptyState, errorMessage, loading, message } from '../messages.js';
import { besidePhoto, photo } from '../photos.js';
import { said, sentence } from '../sentences.js';
import { dataTable } from '../table.js';
import { isBusy, startPlan } from './card.js';
import { noteLine } from './found.js';
import { heldList } from './held.js';

/** The actions in the order of the reader's interest, with the colour of their badge. */
const ACTIONS = [
  ['conflict', 'warn'], ['create', 'good'], ['adopt', 'info'], ['update', 'info'], ['departed', 'warn'],
  ['stop', 'warn'], ['start', 'info'], ['delete', 'bad'],
  ['left-out', 'quiet'], ['unchanged', 'quiet'],
];

/** Shows the section for `server`. */
export async function showPreview(app, panel, signal, server) {
  const body = h('div', {});
  fill(panel, h('h2', { class: 'ui header' }, t('preview.title')), h('p', { class: 'ls-hint' }, t('preview.hint')), body);
  await load();

  async function load() {
    fill(body, loading(t('preview.loading')));
    try {
      const { data } = await call('preview-sync', { id: server.id });
      if (signal.aborted) return;
      fill(body, planSummary(app, signal, server, data, load), planWarnings(data), planTable(app, server, data));
      app.announce(t('preview.ready'));
    } catch (error) {
      if (!signal.aborted) fill(body, errorMessage(error, { title: t('preview.failed'), retry: load }));
    }
  }
}

function planSummary(app, signal, server, plan, reload) {
  const counts = plan.counts || {};
  const changes = ['create', 'adopt', 'update', 'writeBack', 'stopped', 'started', 'deleted']
    .reduce((sum, kind) => sum + (counts[kind] || 0), 0);
  const again = h('button', { type: 'button', class: 'ui button' }, t('preview.again'));
  again.addEventListener('click', () => withBusy(again, reload));
  const start = () => !isBusy(app, server.id) && startPlan(app, server.id, plan.planId);
  const apply = changes > 0 && app.can('apply-plan')
    && h('button', { type: 'button', class: 'ui primary button', on: { click: start } }, t('preview.apply'));
  if (apply) app.status.subscribe(() => setDisabled(apply, isBusy(app, server.id)), signal);
  return h('div', { class: 'ui segment ls-plan' },
    h('p', { class: 'ls-summary' }, planSentence(counts, changes)),
    h('div', { class: 'ls-actions' }, apply, again, planExport(server, plan)),
    apply && h('p', { class: 'ls-hint' }, t('preview.applyHint')));
}

/** Buttons that save the plan. */
function planExport(server, plan) {
  return exportButtons(fileName('plan', server.id, Date.now()), exportColumns(), planRows(plan).flatMap(exportLines), plan);
}

function exportColumns() {
  return [
    { label: t('preview.action'), value: ({ row }) => tOr(`plan.${row.action}`, row.action) },
    { label: t('preview.person'), value: ({ row }) => row.name },
    { label: t('field.number'), value: ({ row }) => row.number },
    { label: t('runs.field'), value: ({ line }) => fieldName(line.field) },
    { label: t('export.side'), value: ({ line }) => sideName(line.side) },
    { label: t('runs.old'), value: ({ line }) => fieldText(line.field, line.old) },
    { label: t('runs.new'), value: ({ line }) => fieldText(line.field, line.new) },
    { label: t('runs.why'), value: ({ line }) => said(line.why) },
    { label: t('export.reason'), value: ({ line }) => line.reason },
    { label: t('export.directoryId'), value: ({ row }) => row.directoryId },
  ];
}

/** A person's lines in the exported table: every change and every conflict, or one line for who waits or leaves without. */
function exportLines(row) {
  const conflicts = (row.conflicts || []).map(({ field, side, cause, reason }) => (
    { field, side, reason: [tOr(`cause.${cause}`, cause), said(reason)].filter(Boolean).join(': ') }));
  const lines = [...(row.changes || []), ...conflicts];
  if (lines.length === 0 && row.action !== 'unchanged') {
    lines.push({ reason: [row.held && t('preview.departureHeld'), said(row.reason)].filter(Boolean).join(' ') });
  }
  return lines.map((line) => ({ row, line }));
}

function planSentence(counts, changes) {
  if (changes === 0) return t(counts.conflict > 0 ? 'preview.onlyConflicts' : 'preview.inStep');
  return ['create', 'adopt', 'update', 'writeBack', 'conflict', 'departed', 'stopped', 'started', 'deleted']
    .filter((name) => counts[name] > 0)
    .map((name) => t(`preview.count.${name}`, { count: counts[name] }))
    .join(' · ');
}

function planWarnings(plan) {
  const partial = coverageReason(plan.coverage);
  return [
    partial !== null && message('warning', t('preview.partial'), [partial ? sentence(partial) : t('preview.partialText')]),
    (plan.held || []).length > 0 && h('div', { class: 'ui warning message' },
      h('div', { class: 'header' }, t('preview.held')), heldList(plan.held)),
    (plan.warnings || []).length > 0 && message('warning', t('warnings.title'), plan.warnings.map(sentence)),
  ];
}

/** Why the directory was not read in full; null when it was. */
function coverageReason(coverage) {
  if (!coverage || String(coverage).toLowerCase() === 'full') return null;
  if (typeof coverage === 'string') return coverage.toLowerCase() === 'partial' ? '' : coverage;
  if (String(coverage.kind).toLowerCase() === 'full') return null;
  return coverage.partial || coverage.Partial || coverage.reason || '';
}

/** Everyone the plan concerns, those of the greatest interest first. */
function planRows(plan) {
  const departed = (plan.departures || []).map((person) => ({ ...person, action: 'departed' }));
  const accounts = (plan.accounts || []).map((account) => ({ ...account, action: account.step }));
  const order = ACTIONS.map(([action]) => action);
  return [...(plan.people || []), ...departed, ...accounts]
    .sort((a, b) => order.indexOf(a.action) - order.indexOf(b.action));
}

function planTable(app, server, plan) {
  const rows = planRows(plan);
  if (rows.length === 0) return emptyState(t('preview.emptyTitle'), t('preview.emptyText'));
  return dataTable({
    caption: t('preview.title'),
    rows,
    columns: planColumns(app, server),
    filters: [
      { label: t('filter.all'), match: () => true },
      ...ACTIONS.map(([action]) => ({ label: t(`plan.${action}`), match: (row) => row.action === action })),
      { label: t('plan.writeBack'), match: (row) => (row.changes || []).some((change) => change.side === 'directory') },
    ],
    searchText: (row) => [row.name, row.number, row.mobile, row.email].join(' '),
  });
}

function planColumns(app, server) {
  const kinds = Object.fromEntries(ACTIONS);
  return [
    {
      id: 'action', label: t('preview.action'), narrow: true,
      cell: (row) => badge(kinds[row.action] || 'quiet', tOr(`plan.${row.action}`, row.action)),
    },
    {
      id: 'name', label: t('preview.person'),
      cell: (row) => besidePhoto(getsPhoto(row) && photo(app, server.id, row.directoryId, row.name),
        personCell(row),
        row.state && personState(row.state),
        row.matchedBy && h('div', { class: 'ls-muted' }, t('preview.matchedBy', { field: tOr(`match.${row.matchedBy}`, fieldName(row.matchedBy)) }))),
    },
    {
      id: 'what', label: t('preview.what'),
      cell: (row) => {
        const lines = [
          row.held && h('div', { class: 'ls-reason' }, t('preview.departureHeld')),
          row.reason && !(row.conflicts || []).length && h('div', { class: 'ls-reason' }, sentence(row.reason)),
          (row.conflicts || []).map(conflictLine),
          (row.changes || []).map(changeLine),
          (row.notes || []).map(noteLine),
        ].flat().filter(Boolean);
        return lines.length ? lines : h('span', { class: 'ls-muted' }, t('preview.nothing'));
      },
    },
  ];
}

/** Whether the directory's photo comes to the PBX, for people not yet linked: of those who are, only the PBX's is answered. */
function getsPhoto(row) {
  return ['create', 'adopt'].includes(row.action)
    && (row.changes || []).some((change) => change.field === 'photo' && change.side === 'pbx' && change.new);
}

function conflictLine(conflict) {
  const differ = conflict.directoryValue || conflict.pbxValue;
  return h('div', { class: 'ls-conflict' },
    conflict.field && h('span', { class: 'ls-change-field' }, fieldName(conflict.field), ': '),
    conflictReason(conflict.cause, [conflict.reason].filter(Boolean)),
    differ && h('div', { class: 'ls-muted' },
      `${sideName('directory')}: `, fieldValue(conflict.field, conflict.directoryValue), ' · ',
      `${sideName('pbx')}: `, fieldValue(conflict.field, conflict.pbxValue)));
}
