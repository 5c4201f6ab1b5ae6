// Everyone kept in step, paged and searched by the server.

import { call } from '../api.js';
import { fill, h, uniqueId, val } from '../dom.js';
import { day, personState } from '../format.js';
import { currentLanguage, t } from '../i18n.js';
import { emptyState, errorMessage } from '../messages.js';
import { besidePhoto, photo } from '../photos.js';
import { serverTitle } from '../status.js';
import { pager, plainTable, searchBox } from '../table.js';

const ADDRESS_KEYS = ['search', 'page', 'perPage', 'sort', 'id'];

/** The section with search, table and pages. Answers the element and `reload()`. */
export function peopleSection(app, servers, signal) {
  const state = { search: '', page: 1, perPage: 25, sort: 'name', id: '', ...stateFromAddress() };
  const result = h('div', { class: 'ls-people', 'aria-busy': 'true' });
  const table = plainTable({ caption: t('people.title'), columns: columns(app, servers), onSort: sortBy });
  const pages = pager((page, perPage) => change({ page, perPage }));
  const count = h('span', { class: 'ls-count' });
  let request = 0;

  function change(part) {
    Object.assign(state, part);
    stateToAddress(state);
    load();
  }

  function sortBy(column) {
    change({ sort: state.sort === column ? `-${column}` : column, page: 1 });
  }

  async function load() {
    request += 1;
    const mine = request;
    result.setAttribute('aria-busy', 'true');
    try {
      const { data } = await call('get-people', { ...state, id: state.id || undefined });
      if (mine === request && !signal.aborted) show(data);
    } catch (error) {
      if (mine === request && !signal.aborted) fill(result, errorMessage(error, { title: t('people.failed'), retry: load }));
    }
    if (mine === request) result.removeAttribute('aria-busy');
  }

  function show(data) {
    if (data.people.length === 0 && data.total > 0 && data.page > 1) {
      change({ page: 1 });
      return;
    }
    count.textContent = data.total.toLocaleString(currentLanguage());
    if (data.total === 0) {
      fill(result, state.search ? nobodyMatches() : nobodyYet(app, servers));
      return;
    }
    table.show(data.people, { column: state.sort.replace(/^-/, ''), descending: state.sort.startsWith('-') });
    pages.show(data.total, data.page || state.page, data.perPage || state.perPage);
    if (!table.element.isConnected) fill(result, table.element, pages.element);
  }

  const element = h('section', { class: 'ls-section' },
    h('div', { class: 'ls-section-head' },
      h('h2', { class: 'ui header' }, t('people.title'), ' ', count),
      h('div', { class: 'ls-toolbar-right' },
        servers.length > 1 && serverFilter(servers, state.id, (id) => change({ id, page: 1 })),
        searchBox(t('people.search'), (search) => change({ search, page: 1 }), state.search))),
    result);
  load();
  return { element, reload: load };
}

function columns(app, servers) {
  const titles = new Map(servers.map((server) => [String(server.id), serverTitle(server)]));
  const text = (id, narrow) => ({
    id, label: t(`field.${id}`), sortable: true, narrow, cell: (person) => (person[id] ? val(person[id]) : '–'),
  });
  return [
    { ...text('name'), cell: (person) => nameCell(app, person) },
    text('number', true), text('mobile', true), { ...text('email'), wide: true },
    servers.length > 1 && {
      id: 'serverId', label: t('people.server'), cell: (person) => val(titles.get(String(person.serverId)) || '–'),
    },
    { id: 'state', label: t('people.state'), sortable: true, narrow: true, cell: (person) => personState(person.state) },
    { id: 'since', label: t('people.since'), sortable: true, narrow: true, cell: (person) => day(person.since) },
  ].filter(Boolean);
}

function nameCell(app, person) {
  return besidePhoto(photo(app, person.serverId, person.directoryId, person.name), personLink(app, person));
}

/** A person's name, leading to where the values came from. Who is gone (a negative id) has nothing to show there. */
export function personLink(app, person) {
  const name = h('strong', { class: 'ls-name' }, val(person.name || '–'));
  if (!app.can('explain-person') || !(person.userId > 0)) return name;
  return h('a', { class: 'ls-person-link', href: `#/people/${encodeURIComponent(person.userId)}`, title: t('person.open') }, name);
}

function serverFilter(servers, selected, onChange) {
  const id = uniqueId('server');
  const select = h('select', { id, class: 'ui dropdown' },
    h('option', { value: '' }, t('people.allServers')),
    servers.map((server) => h('option', { value: server.id, selected: String(server.id) === String(selected) }, serverTitle(server))));
  select.addEventListener('change', () => onChange(select.value));
  return h('div', { class: 'ls-filter' }, h('label', { class: 'ls-sr', for: id }, t('people.server')), select);
}

function nobodyMatches() {
  return h('p', { class: 'ls-nothing', role: 'status' }, t('people.nobodyMatches'));
}

function nobodyYet(app, servers) {
  const preview = app.can('preview-sync') && servers.length === 1
    && h('a', { class: 'ui primary button', href: `#/servers/${encodeURIComponent(servers[0].id)}/preview` }, t('action.preview'));
  return emptyState(t('people.emptyTitle'), t('people.emptyText'), ...(preview ? [preview] : []));
}

/** Search and page stand in the address, so that "back" and a bookmark lead to the same list. */
function stateFromAddress() {
  const query = new URLSearchParams(window.location.hash.split('?')[1] || '');
  const state = Object.fromEntries([...query].filter(([key]) => ADDRESS_KEYS.includes(key)));
  ['page', 'perPage'].forEach((key) => {
    if (!(Number(state[key]) >= 1)) delete state[key];
    else state[key] = Number(state[key]);
  });
  return state;
}

function stateToAddress(state) {
  const query = new URLSearchParams(Object.entries(state).filter(([, value]) => value !== ''));
  window.history.replaceState(null, '', `${window.location.pathname}${window.location.search}#/?${query}`);
}
