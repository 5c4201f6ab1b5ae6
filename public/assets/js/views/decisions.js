// Decisions that stand: people left out, conflicts ignored, and what the next run carries out.

import { h, val } from '../dom.js';
import { fieldName, moment } from '../format.js';
import { t, tOr } from '../i18n.js';
import { plainTable } from '../table.js';
import { takeBackButton, tellingIn } from './decide.js';

/** The section about `decisions`; nothing when there are none. `onChange(text)` is called once one was taken back. */
export function decisionsSection(app, decisions, onChange) {
  if (decisions.length === 0) return null;
  const problem = h('div', {});
  const doIt = tellingIn(problem, onChange);
  const table = plainTable({ caption: t('decisions.title'), columns: columns(app, doIt) });
  table.show(decisions);
  return h('section', { class: 'ls-section' },
    h('h2', { class: 'ui header' }, t('decisions.title')), h('p', { class: 'ls-hint' }, t('decisions.hint')),
    problem, h('div', { class: 'ls-data' }, table.element));
}

function columns(app, doIt) {
  return [
    {
      id: 'person', label: t('conflicts.person'),
      cell: (row) => [h('strong', { class: 'ls-name' }, val(row.person || '–')), row.field && h('div', { class: 'ls-muted' }, fieldName(row.field))],
    },
    {
      id: 'choice', label: t('decisions.choice'),
      cell: (row) => [h('strong', {}, tOr(`decided.${row.choice}`, row.choice)),
        h('div', { class: 'ls-muted' }, tOr(`decided.${row.choice}.hint`, t('decide.waits')))],
    },
    { id: 'cause', label: t('decisions.cause'), cell: (row) => tOr(`cause.${row.cause}`, row.cause || '–') },
    { id: 'made', label: t('decisions.made'), narrow: true, cell: (row) => moment(row.made) },
    app.can('delete-decision') && { id: 'back', label: '', narrow: true, cell: (row) => takeBackButton(app, row, row.person, doIt) },
  ].filter(Boolean);
}
