// A server at a glance: what it is, when it ran and will run, and what can be done with it.

import { call } from '../api.js';
import { fill, h, setDisabled, uniqueId, val, withBusy } from '../dom.js';
import { badge, duration, moment, relative, runSummary } from '../format.js';
import { currentLanguage, t, tOr } from '../i18n.js';
import { errorMessage, message } from '../messages.js';
import { forgetPhotos } from '../photos.js';
import { sentence } from '../sentences.js';
import { isQueued, isRunning, serverTitle } from '../status.js';
import { SyncJob } from '../sync-job.js';
import { heldBanner } from './held.js';

const SECTIONS = [
  ['preview', 'preview-sync'],
  ['found', 'get-available-ldap-users'],
  ['leavers', 'get-disabled-ldap-users'],
  ['test', 'test-connection'],
  ['settings', 'get-server'],
];

/** The card of the server with `id`. `section` is the one open beneath it. Answers the element and `update(server)`. */
export function serverCard(app, id, section) {
  const title = h('h2', { class: 'ui header ls-card-title' });
  const provider = h('span', { class: 'ls-card-provider' });
  const facts = h('dl', { class: 'ls-facts' });
  const problem = h('div', {});
  const held = heldBanner(app, id);
  const damaged = h('div', {});
  const progress = runProgress(app);
  const autosync = autosyncSwitch(app, id, problem);
  const actions = cardActions(app, id, section);
  const element = h('section', { class: 'ui segment ls-card' },
    h('div', { class: 'ls-card-head' }, h('div', {}, title, provider), autosync.element),
    damaged, facts, progress.element, held.element, problem, actions.element);

  function update(server) {
    fill(title, val(serverTitle(server)));
    provider.textContent = tOr(`type.${server.provider}`, server.provider || '');
    fill(facts, cardFacts(server));
    fill(damaged, server.error && message('negative', t('server.damagedTitle'), [sentence(server.error), t('server.damagedText')]));
    held.update(server);
    autosync.update(server);
    progress.update(server);
    actions.update(server);
  }
  return { element, update };
}

function cardFacts(server) {
  const run = server.lastRun;
  const last = run
    ? [h('div', { class: 'ls-fact-main' }, isRunning(server) ? t('run.startedRelative', { when: relative(run.startedAt) })
      : relative(run.endedAt || run.startedAt), ' ', stateBadge(run.state)),
    runSummary(run) && h('div', { class: 'ls-fact-more' }, val(runSummary(run))),
    run.error && h('div', { class: 'ls-fact-more ls-conflict' }, sentence(run.error))]
    : [h('div', { class: 'ls-fact-main' }, t('run.never')), h('div', { class: 'ls-fact-more' }, t('run.neverNext'))];
  const next = server.nextRun
    ? [h('div', { class: 'ls-fact-main' }, server.nextRun <= Date.now() ? t('time.due') : relative(server.nextRun)),
      h('div', { class: 'ls-fact-more' }, server.waitsForFirstRun ? t('run.noNextManual') : moment(server.nextRun))]
    : [h('div', { class: 'ls-fact-main' }, t('run.noNext')),
      h('div', { class: 'ls-fact-more' }, server.autosync ? t('run.noNextManual') : t('run.noNextOff'))];
  return [
    fact(t('fact.people'), h('div', { class: 'ls-fact-number' }, Number(server.syncedEmployees || 0).toLocaleString(currentLanguage()))),
    fact(t('fact.last'), last),
    fact(t('fact.next'), next),
  ];
}

function fact(label, ...content) {
  return h('div', { class: 'ls-fact' }, h('dt', {}, label), h('dd', {}, content));
}

/** The state of a run as a coloured word. */
export function stateBadge(state) {
  const kinds = { running: 'info', queued: 'info', done: 'good', ok: 'good', failed: 'bad', cancelled: 'quiet', held: 'warn', partial: 'warn' };
  return badge(kinds[state] || 'quiet', tOr(`state.${state}`, state || ''));
}

function autosyncSwitch(app, id, problem) {
  const inputId = uniqueId('autosync');
  const input = h('input', { type: 'checkbox', id: inputId, disabled: !app.can('set-autosync') });
  let saving = false;
  input.addEventListener('change', async () => {
    const wanted = input.checked;
    saving = true;
    fill(problem);
    try {
      await call('set-autosync', { id, autosync: wanted });
      app.announce(t(wanted ? 'autosync.on' : 'autosync.off'));
    } catch (error) {
      input.checked = !wanted;
      fill(problem, errorMessage(error, { title: t('autosync.failed') }));
    }
    await app.status.reload();
    saving = false;
  });
  const element = h('div', { class: 'ui toggle checkbox ls-autosync' }, input, h('label', { for: inputId }, t('autosync.label')));
  return {
    element,
    update: (server) => {
      if (!saving) input.checked = Boolean(server.autosync);
    },
  };
}

function cardActions(app, id, section) {
  const sync = app.can('sync-ldap-users')
    && h('button', { type: 'button', class: 'ui button', dataset: { keepFocus: 'sync' }, on: { click: () => startSync(app, id) } }, t('action.sync'));
  const links = SECTIONS.filter(([, action]) => app.can(action)).map(([name]) => h('a', {
    class: 'ui button', href: `#/servers/${encodeURIComponent(id)}/${name}`, dataset: { keepFocus: name },
    'aria-current': section === name && 'page',
  }, t(`action.${name}`)));
  links.forEach((link) => link.classList.toggle('active', link.hasAttribute('aria-current')));
  const element = h('div', { class: 'ls-actions ls-card-actions' }, sync, links);

  /** Before the first run the preview is the step to take, afterwards the synchronisation. */
  function update(server) {
    const first = !server.lastRun;
    const preview = links.find((link) => link.dataset.keepFocus === 'preview');
    if (sync) {
      sync.classList.toggle('primary', (!first || !preview) && section !== 'preview');
      setDisabled(sync, isRunning(server));
    }
    if (preview) preview.classList.toggle('primary', first && section !== 'preview');
  }
  return { element, update };
}

/** Starts a synchronisation unless one of this server is under way here, and shows its view. */
export function startSync(app, id) {
  startJob(app, id, {});
}

/** Makes the run `heldRunId` that the limits held, and shows its view. */
export function startApproval(app, id, heldRunId) {
  startJob(app, id, { heldRunId });
}

/** Makes exactly what the preview `planId` has shown, and shows its view. */
export function startPlan(app, id, planId) {
  startJob(app, id, { planId });
}

/** Whether a run of this server is under way or asked for, here or elsewhere. */
export function isBusy(app, id) {
  const job = app.jobs.get(String(id));
  const server = app.status.server(id);
  return Boolean(job && job.state === 'running') || isRunning(server) || isQueued(server);
}

function startJob(app, id, order) {
  const running = isBusy(app, id);
  if (!running) {
    const started = new SyncJob(id, app.status, order);
    app.jobs.set(String(id), started);
    started.finished.then(forgetPhotos);
  }
  const path = `servers/${encodeURIComponent(id)}/sync`;
  if (window.location.hash === `#/${path}`) app.showRoute(true);
  else app.go(path);
}

/** Progress of the run under way, with a way to stop it. */
function runProgress(app) {
  const labelId = uniqueId('progress');
  const label = h('span', { id: labelId });
  const bar = h('progress', { class: 'ls-progress-bar', 'aria-labelledby': labelId });
  const problem = h('div', {});
  const cancel = h('button', { type: 'button', class: 'ui small button' }, t('button.cancelRun'));
  const element = h('div', { class: 'ls-progress', hidden: true },
    h('div', { class: 'ls-progress-line' }, label, app.can('cancel-run') && cancel), bar, problem);
  let runId = null;
  let announced = null;
  const speed = speedometer();

  cancel.addEventListener('click', () => withBusy(cancel, async () => {
    fill(problem);
    try {
      await call('cancel-run', { runId });
      cancel.hidden = true;
      app.announce(t('run.cancelling'));
    } catch (error) {
      fill(problem, errorMessage(error));
    }
    app.status.refresh();
  }));

  function update(server) {
    element.hidden = !isRunning(server) && !isQueued(server);
    if (element.hidden) return;
    bar.hidden = isQueued(server);
    if (runId !== server.lastRun.runId) cancel.hidden = false;
    runId = server.lastRun.runId;
    const counts = server.lastRun.counts || {};
    label.textContent = progressText(counts, server.lastRun, speed(runId, counts));
    if (counts.total > 0) {
      bar.max = counts.total;
      bar.value = counts.done || 0;
    } else {
      bar.removeAttribute('value');
    }
    const tenth = counts.total > 0 ? Math.floor((10 * (counts.done || 0)) / counts.total) : 0;
    if (announced !== `${runId}/${tenth}`) app.announce(label.textContent);
    announced = `${runId}/${tenth}`;
  }
  return { element, update };
}

/** Answers a function that tells how many people a second a run deals with, from what it was told before; 0 at first. */
function speedometer() {
  let first = { phase: null };
  return (runId, { done = 0, total = 0 }) => {
    const phase = `${runId}/${total}`;
    if (first.phase !== phase || done < first.done) first = { phase, done, at: Date.now() };
    const seconds = (Date.now() - first.at) / 1000;
    return seconds < 2 ? 0 : (done - first.done) / seconds;
  };
}

function progressText(counts, run, rate) {
  if (run.state === 'queued') return t('run.queued');
  const { done = 0, total = 0 } = counts;
  if (total > 0 && rate > 0) {
    const left = duration((1000 * (total - done)) / rate);
    return t('run.progressRate', { done, total, rate: Math.max(1, Math.round(rate)), left });
  }
  if (total > 0) return t('run.progress', { done, total });
  return t('run.reading', { time: duration(Math.max(0, Date.now() - run.startedAt)) });
}
