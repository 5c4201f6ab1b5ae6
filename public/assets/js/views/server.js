// One server: its card and, beneath it, the section the address names.

import { fill, h } from '../dom.js';
import { t } from '../i18n.js';
import { emptyState, errorMessage, loading } from '../messages.js';
import { serverCard } from './card.js';
import { showTest } from './connection.js';
import { showFound } from './found.js';
import { showLeavers } from './leavers.js';
import { showPreview } from './preview.js';
import { showSettings } from './settings.js';
import { showSync } from './sync.js';

const SECTIONS = {
  sync: showSync, preview: showPreview, found: showFound, leavers: showLeavers, test: showTest, settings: showSettings,
};

/** Shows the server `id` with `section`. */
export function showServer(app, place, signal, id, section) {
  const problem = h('div', {});
  const top = h('div', { class: 'ls-cards' }, loading());
  const panel = h('section', { class: 'ls-section' });
  let card = null;
  fill(place, backLink(), h('h1', { class: 'ls-sr' }, t(`action.${section}`)), problem, top, panel);

  app.status.subscribe((status) => {
    fill(problem, status.error && errorMessage(status.error, { title: t('status.stale'), retry: () => status.refresh() }));
    if (!status.data) return;
    const server = status.server(id);
    if (!server) {
      fill(top, emptyState(t('server.goneTitle'), t('server.goneText'), h('a', { class: 'ui button', href: '#/' }, t('overview.back'))));
      fill(panel);
      return;
    }
    if (!card) {
      card = serverCard(app, server.id, section);
      fill(top, card.element);
      SECTIONS[section](app, panel, signal, server);
    }
    card.update(server);
  }, signal);
}

/** Shows the form for a server that does not exist yet. */
export function showNewServer(app, place, signal) {
  const panel = h('section', {});
  fill(place, backLink(), panel);
  showSettings(app, panel, signal, null);
}

function backLink() {
  return h('a', { class: 'ls-back', href: '#/' }, h('span', { 'aria-hidden': 'true' }, '← '), t('overview.back'));
}
