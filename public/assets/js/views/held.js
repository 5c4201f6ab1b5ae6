// What the safety limits hold: what it is, and the two ways to decide about it.

import { call } from '../api.js';
import { fill, h, val } from '../dom.js';
import { fieldName, moment } from '../format.js';
import { t, tOr } from '../i18n.js';
import { confirmAndDo, errorMessage, loading } from '../messages.js';
import { sentence } from '../sentences.js';
import { isRunning } from '../status.js';
import { startApproval } from './card.js';

/** A banner for the card of the server `id`. Answers the element and `update(server)`. */
export function heldBanner(app, id) {
  const element = h('div', { hidden: true });
  let shown = '';

  function update(server) {
    const { heldRun } = server;
    const running = isRunning(server);
    const now = JSON.stringify([heldRun, running]);
    if (now === shown) return;
    shown = now;
    element.hidden = !heldRun;
    fill(element, heldRun && banner(app, id, heldRun, running));
  }
  return { element, update };
}

/** While a run is under way what is held may change, so only what that run leaves can be approved. */
function banner(app, id, heldRun, running) {
  const approve = app.can('approve-held-run') && h('button', {
    type: 'button', class: running ? 'ui button disabled' : 'ui primary button', 'aria-disabled': running && 'true',
    on: { click: () => !running && askApproval(app, id, heldRun) },
  }, t('held.approve'));
  const reject = app.can('reject-held-run') && h('button', {
    type: 'button', class: 'ui button', on: { click: () => askRejection(app, heldRun) },
  }, t('held.reject'));
  return h('div', { class: 'ui warning message ls-held' },
    h('div', { class: 'header' }, t('held.title')),
    h('p', {}, t('held.text'), ' ', t('held.since'), ' ', moment(heldRun.since), '.'),
    heldList(heldRun.held),
    app.can('get-held-run') && heldPeople(heldRun),
    h('div', { class: 'ls-actions' }, approve, reject));
}

/** Whom it concerns; asked for when the reader wants to see it. */
function heldPeople(heldRun) {
  const place = h('div', {});
  const details = h('details', { class: 'ls-details' }, h('summary', {}, t('held.who')), place);
  details.addEventListener('toggle', async () => {
    if (!details.open || place.childElementCount > 0) return;
    fill(place, loading());
    try {
      const { data } = await call('get-held-run', { runId: heldRun.runId });
      fill(place, data.held.map(peopleOf));
    } catch (error) {
      fill(place, errorMessage(error));
    }
  });
  return details;
}

function peopleOf({ what, count, people }) {
  return h('section', {}, h('h4', {}, heldWhat(what)),
    h('ul', { class: 'ls-held-people' }, people.map((person) => h('li', {}, personLink(person),
      person.number && [' ', h('span', { class: 'ls-muted' }, val(person.number))],
      person.usedBy.length > 0 && h('div', { class: 'ls-muted' }, t('held.usedBy'), ' ',
        person.usedBy.map((use, index) => [index > 0 && ', ', sentence(use)]))))),
    count > people.length && h('p', { class: 'ls-hint' }, t('held.more', { count: count - people.length })));
}

function personLink({ name, directoryId, userId }) {
  const text = val(name || directoryId);
  return userId ? h('a', { href: `#/people/${encodeURIComponent(userId)}` }, text) : text;
}

/** What is held, one line for each kind. */
export function heldList(held) {
  return h('ul', { class: 'ls-held-list' }, (held || []).map((entry) => h('li', {},
    h('strong', {}, t('held.line', { what: heldWhat(entry.what), count: entry.count })),
    h('div', {}, heldReason(entry)))));
}

/** A kind of change in the page's words: the module says `email changed in the directory` and the like. */
export function heldWhat(what) {
  const known = tOr(`held.what.${what}`, '');
  if (known) return known;
  const [, field, verb, place] = /^(\w+) (changed or cleared|changed|cleared)( in the directory)?$/.exec(what) || [];
  return field ? t(`held.${verb}${place ? '.directory' : ''}`, { field: fieldName(field) }) : what;
}

function heldReason({ what, count, limit, reason }) {
  const byKind = tOr(`held.why.${what}`, '');
  if (byKind) return t(`held.why.${what}`, { count, limit });
  return heldWhat(what) === what ? sentence(reason) : t('held.why.fields', { count, limit });
}

async function askApproval(app, id, heldRun) {
  const agreed = await confirmAndDo({
    title: t('held.approveTitle'),
    text: t('held.approveText'),
    content: heldList(heldRun.held),
    button: t('held.approve'),
    kind: 'primary',
    keep: t('button.cancel'),
    work: async () => {},
  });
  if (agreed) startApproval(app, id, heldRun.runId);
}

async function askRejection(app, heldRun) {
  const rejected = await confirmAndDo({
    title: t('held.rejectTitle'),
    text: t('held.rejectText'),
    button: t('held.reject'),
    keep: t('button.cancel'),
    work: () => call('reject-held-run', { runId: heldRun.runId }),
  });
  if (!rejected) return;
  app.announce(t('held.rejected'));
  await app.status.reload();
}
