// What the safety limits hold: what it is, and the two ways to decide about it.

import { call } from '../api.js';
import { fill, h, val } from '../dom.js';
import { fieldName, moment } from '../format.js';
import { t, tOr } from '../i18n.js';
import { confirmAndDo } from '../messages.js';
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
    h('div', { class: 'ls-actions' }, approve, reject));
}

/** What is held, one line for each kind. */
export function heldList(held) {
  return h('ul', { class: 'ls-held-list' }, (held || []).map((entry) => h('li', {},
    h('strong', {}, t('held.line', { what: heldWhat(entry.what), count: entry.count })),
    h('div', {}, val(heldReason(entry))))));
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
  return heldWhat(what) === what ? reason || '' : t('held.why.fields', { count, limit });
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
