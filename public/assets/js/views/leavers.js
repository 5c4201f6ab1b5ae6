// People who left the directory and are still employees of the PBX.

import { call } from '../api.js';
import { fill, h, val } from '../dom.js';
import { badge, day, personState } from '../format.js';
import { t, tOr } from '../i18n.js';
import { emptyState, errorMessage, loading } from '../messages.js';
import { said, sentence } from '../sentences.js';
import { dataTable } from '../table.js';
import { personLink } from './people.js';

/** Shows the section for `server`. */
export async function showLeavers(app, panel, signal, server) {
  const body = h('div', {});
  fill(panel, h('h2', { class: 'ui header' }, t('leavers.title')), h('p', { class: 'ls-hint' }, t('leavers.hint')), body);
  await load();

  async function load() {
    fill(body, loading());
    try {
      const { data } = await call('get-disabled-ldap-users', { id: server.id });
      if (signal.aborted) return;
      fill(body, data.length > 0 ? leaverTable(app, data) : emptyState(t('leavers.emptyTitle'), t('leavers.emptyText')));
      app.announce(t('leavers.count', { count: data.length }));
    } catch (error) {
      if (!signal.aborted) fill(body, errorMessage(error, { retry: load }));
    }
  }
}

function leaverTable(app, people) {
  return [
    h('p', { class: 'ls-summary' }, t('leavers.count', { count: people.length })),
    dataTable({
      caption: t('leavers.title'),
      rows: people,
      columns: columns(app),
      filters: [
        { label: t('filter.all'), match: () => true },
        { label: t('leavers.stillUsed'), match: (person) => person.usedBy.length > 0 },
        { label: t('leavers.accountOn'), match: (person) => !person.accountOff },
        { label: t('leavers.accountOff'), match: (person) => person.accountOff },
      ],
      searchText: (person) => [person.name, person.number, person.mobile, person.email, ...person.usedBy.map(said)].join(' '),
    }),
  ];
}

function columns(app) {
  return [
    {
      id: 'name', label: t('field.name'),
      cell: (person) => [personLink(app, person), h('div', { class: 'ls-muted' }, t(person.createdBySync ? 'leavers.madeBySync' : 'leavers.madeByHand'))],
    },
    { id: 'number', label: t('field.number'), narrow: true, cell: (person) => (person.number ? val(person.number) : '–') },
    {
      id: 'since', label: t('leavers.since'), narrow: true,
      cell: (person) => [day(person.since), person.daysGone > 0 && h('div', { class: 'ls-muted' }, t('leavers.days', { count: person.daysGone }))],
    },
    { id: 'why', label: t('leavers.why'), cell: (person) => [personState(person.state), h('div', { class: 'ls-reason' }, tOr(`leavers.why.${person.state}`, said(person.why)))] },
    {
      id: 'usedBy', label: t('leavers.usedBy'),
      cell: (person) => (person.usedBy.length > 0
        ? h('ul', { class: 'ls-uses' }, person.usedBy.map((use) => h('li', {}, sentence(use))))
        : h('span', { class: 'ls-muted' }, t('leavers.unused'))),
    },
    {
      id: 'account', label: t('leavers.account'), narrow: true,
      cell: (person) => (person.accountOff ? badge('quiet', t('leavers.accountOff')) : badge('warn', t('leavers.accountOn'))),
    },
  ];
}
