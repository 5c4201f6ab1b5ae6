// Entry of the page: loads words and the list of actions, then shows the view the address names.

import { call, insideMikoPbx } from './api.js';
import { fill, h } from './dom.js';
import { currentLanguage, languages, loadLanguage, t } from './i18n.js';
import { errorMessage, loading } from './messages.js';
import { StatusWatch } from './status.js';
import { showConflicts } from './views/conflicts.js';
import { showOverview } from './views/overview.js';
import { showPerson } from './views/person.js';
import { showRun, showRuns } from './views/runs.js';
import { showServer, showNewServer } from './views/server.js';

/** Address patterns, the view each shows, and the tab it belongs to. */
const ROUTES = [
  [/^$/, showOverview, 'overview'],
  [/^servers\/new$/, showNewServer, 'overview'],
  [/^servers\/([^/]+)\/(sync|preview|found|leavers|test|settings)$/, showServer, 'overview'],
  [/^people\/(\d+)$/, showPerson, 'overview'],
  [/^conflicts$/, showConflicts, 'conflicts'],
  [/^runs$/, showRuns, 'runs'],
  [/^runs\/([^/]+)$/, showRun, 'runs'],
];

const TABS = [
  ['overview', '', 'get-status'],
  ['conflicts', 'conflicts', 'get-server-conflicts'],
  ['runs', 'runs', 'get-runs'],
];

/** What the views share. */
class App {
  constructor(root) {
    this.root = root;
    this.actions = new Set();
    this.status = new StatusWatch();
    this.jobs = new Map();
    this.drafts = new Map();
    this.notices = new Map();
    this.live = h('div', { class: 'ls-sr', role: 'status', 'aria-live': 'polite' });
    this.main = h(insideMikoPbx() ? 'div' : 'main', { class: 'ls-main', tabindex: '-1' });
    this.view = new AbortController();
  }

  /** Whether this release of the module serves `action`. */
  can(action) {
    return this.actions.has(action);
  }

  /** Tells screen readers what happened. */
  announce(text) {
    this.live.textContent = '';
    setTimeout(() => { this.live.textContent = text; }, 50);
  }

  /** Goes to a view. */
  go(path) {
    window.location.hash = `#/${path}`;
  }

  async start() {
    fill(this.root, loading());
    try {
      this.actions = new Set((await call('get-actions')).data);
    } catch (error) {
      fill(this.main, h('h1', { class: 'ui header ls-start' }, t('page.title')), errorMessage(error, { retry: () => this.start() }));
      fill(this.root, this.main);
      return;
    }
    this.tabs = TABS.filter(([, , action]) => this.can(action)).map(([name, path]) => (
      [name, h('a', { class: 'item', href: `#/${path}` }, t(`tab.${name}`))]));
    fill(this.root, this.header(), this.main, this.footer(), this.live);
    window.addEventListener('hashchange', () => this.showRoute(true));
    window.addEventListener('beforeunload', (event) => this.drafts.size > 0 && event.preventDefault());
    this.showRoute(false);
  }

  header() {
    const choices = languages().map(([code, name]) => {
      const current = code === currentLanguage();
      return h('a', {
        class: `item${current ? ' active' : ''}`, lang: code, href: `?lang=${code}`, 'aria-current': current && 'true',
        on: { click: (event) => keepPlace(event, code) },
      }, name);
    });
    return h('header', { class: 'ls-header' },
      h('div', { class: 'ls-brand' }, h('span', { class: 'ls-brand-mark', 'aria-hidden': 'true' }),
        h('span', { class: 'ls-brand-name' }, t('page.title'))),
      h('nav', { class: 'ls-languages', 'aria-label': t('page.language') }, choices),
      h('nav', { class: 'ui secondary pointing menu ls-tabs', 'aria-label': t('page.sections') },
        this.tabs.map(([, tab]) => tab)));
  }

  footer() {
    const version = h('span', {});
    this.status.subscribe(({ data }) => {
      version.textContent = data && data.version ? t('page.version', { version: data.version }) : '';
    }, new AbortController().signal);
    return h('footer', { class: 'ls-footer' }, version);
  }

  showRoute(moveFocus) {
    const path = window.location.hash.replace(/^#\/?/, '').split('?')[0];
    const { view, tabName, parameters } = findRoute(path);
    this.view.abort();
    this.view = new AbortController();
    this.tabs.forEach(([name, tab]) => {
      tab.classList.toggle('active', name === tabName);
      if (name === tabName) tab.setAttribute('aria-current', 'page');
      else tab.removeAttribute('aria-current');
    });
    const keepFocus = this.main.contains(document.activeElement) && document.activeElement.dataset.keepFocus;
    view(this, fill(this.main), this.view.signal, ...parameters);
    if (!moveFocus) return;
    const again = keepFocus && this.main.querySelector(`[data-keep-focus="${CSS.escape(keepFocus)}"]`);
    (again || this.main).focus({ preventScroll: Boolean(again) });
    if (!again) this.root.scrollIntoView();
  }
}

/** The view an address names; the overview where it names none or has a broken percent escape. */
function findRoute(path) {
  const [pattern, view, tabName] = ROUTES.find(([candidate]) => candidate.test(path)) || ROUTES[0];
  try {
    return { view, tabName, parameters: (path.match(pattern) || []).slice(1).map(decodeURIComponent) };
  } catch {
    const [, overview, overviewTab] = ROUTES[0];
    return { view: overview, tabName: overviewTab, parameters: [] };
  }
}

/** Changes the language and stays in the same view. */
function keepPlace(event, code) {
  event.preventDefault();
  const address = new URL(window.location.href);
  address.searchParams.set('lang', code);
  window.location.assign(address);
}

async function mount() {
  const root = document.getElementById('module-ldap-sync');
  try {
    await loadLanguage(root.dataset.i18n || new URL('../i18n/', import.meta.url), root.dataset.lang);
  } catch (error) {
    root.textContent = `The page could not load its words (${error.message}). Check that the directory assets/i18n is `
      + 'served beside the page, then load the page again.';
    return;
  }
  root.lang = currentLanguage();
  if (!insideMikoPbx()) {
    document.documentElement.lang = currentLanguage();
    document.title = t('page.title');
    root.classList.add('ls-standalone');
  }
  await new App(root).start();
}

mount();
