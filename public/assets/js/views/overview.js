// First view: every server at a glance and everyone kept in step.

import { fill, h } from '../dom.js';
import { t } from '../i18n.js';
import { emptyState, errorMessage, loading } from '../messages.js';
import { serverCard } from './card.js';
import { peopleSection } from './people.js';

/** Shows the view in `place` until `signal` is aborted. */
export function showOverview(app, place, signal) {
  const problem = h('div', {});
  const cards = h('div', { class: 'ls-cards' }, loading());
  const people = h('div', {});
  const add = app.can('config-save') && h('a', { class: 'ui button', href: '#/servers/new' }, t('server.add'));
  fill(place,
    h('div', { class: 'ls-view-head' }, h('h1', { class: 'ui header' }, t('overview.title')), add),
    problem, cards, people);

  let shown = '';
  let byId = new Map();
  let lastRuns = '';
  let section = null;

  app.status.subscribe((status) => {
    fill(problem, status.error && errorMessage(status.error, {
      title: t(status.data ? 'status.stale' : 'error.title'), retry: () => status.refresh(),
    }));
    if (!status.data) {
      if (status.error) fill(cards);
      return;
    }
    const servers = status.servers();
    const ids = JSON.stringify(servers.map((server) => server.id));
    if (ids !== shown) {
      shown = ids;
      byId = new Map(servers.map((server) => [server.id, serverCard(app, server.id)]));
      fill(cards, servers.length ? [...byId.values()].map((card) => card.element) : noServers(app));
      if (add) add.hidden = servers.length === 0;
      section = servers.length > 0 && app.can('get-people') ? peopleSection(app, servers, signal) : null;
      fill(people, section && section.element);
    }
    servers.forEach((server) => byId.get(server.id).update(server));
    const ended = JSON.stringify(servers.map((server) => server.lastRun && server.lastRun.endedAt));
    if (section && lastRuns && ended !== lastRuns) section.reload();
    lastRuns = ended;
  }, signal);
}

function noServers(app) {
  const add = app.can('config-save') && [h('a', { class: 'ui primary button', href: '#/servers/new' }, t('server.add'))];
  return emptyState(t('overview.emptyTitle'), t('overview.emptyText'), ...(add || []));
}
