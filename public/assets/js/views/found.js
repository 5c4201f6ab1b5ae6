// "Run request": the people the server's filter finds, read without changing anything.

import { call } from '../api.js';
import { fill, h, val } from '../dom.js';
import { badge } from '../format.js';
import { t } from '../i18n.js';
import { emptyState, errorMessage, loading } from '../messages.js';
import { besidePhoto, photo } from '../photos.js';
import { sentence } from '../sentences.js';
import { dataTable } from '../table.js';

/** What a row calls the photo: the attributes that usually hold it. */
const PHOTO_KEYS = ['photo', 'jpegPhoto', 'thumbnailPhoto'];

/** Shows the section for `server`. */
export async function showFound(app, panel, signal, server) {
  const body = h('div', {});
  fill(panel, h('h2', { class: 'ui header' }, t('found.title')), h('p', { class: 'ls-hint' }, t('found.hint')), body);
  await load();

  async function load() {
    fill(body, loading(t('found.loading')));
    try {
      const { data } = await call('get-available-ldap-users', { id: server.id });
      if (signal.aborted) return;
      fill(body, data.length ? peopleTable(app, server, data) : nobody(server));
      app.announce(t('found.count', { count: data.length }));
    } catch (error) {
      if (!signal.aborted) fill(body, errorMessage(error, { title: t('found.failed'), retry: load }));
    }
  }
}

function nobody(server) {
  return emptyState(t('found.emptyTitle'), t('found.emptyText'),
    h('a', { class: 'ui button', href: `#/servers/${encodeURIComponent(server.id)}/settings` }, t('action.settings')));
}

function peopleTable(app, server, people) {
  const text = (id, narrow) => ({ id, label: t(`field.${id}`), narrow, cell: (person) => (person[id] ? val(person[id]) : '–') });
  return [
    h('p', { class: 'ls-summary' }, t('found.count', { count: people.length })),
    dataTable({
      caption: t('found.title'),
      rows: people,
      columns: [
        { ...text('name'), cell: (person) => nameCell(app, server, person) },
        text('number', true), text('mobile', true), { ...text('email'), wide: true },
        {
          id: 'account', label: t('found.account'), narrow: true,
          cell: (person) => (isDisabled(person) ? badge('warn', t('found.disabled')) : badge('good', t('found.active'))),
        },
        { id: 'notes', label: t('notes.title'), cell: (person) => (person.notes || []).map(noteLine) },
      ],
      filters: [
        { label: t('filter.all'), match: () => true },
        { label: t('found.withNotes'), match: (person) => (person.notes || []).length > 0 },
        { label: t('found.disabled'), match: isDisabled },
      ],
      searchText: (person) => [person.name, person.number, person.mobile, person.email].join(' '),
    }),
  ];
}

function nameCell(app, server, person) {
  const picture = PHOTO_KEYS.some((key) => person[key]) && photo(app, server.id, person.directoryId, person.name);
  return besidePhoto(picture, h('strong', { class: 'ls-name' }, val(person.name || '–')));
}

function isDisabled(person) {
  return [true, 1, '1', 'true'].includes(person.userDisabled);
}

/** A note about a value: a sentence, or `{ field, text }`. */
export function noteLine(note) {
  return h('div', { class: 'ls-note' }, sentence(typeof note === 'string' ? note : note.text));
}
