// The connection test: its steps, the server's certificate, and the offer to trust it.

import { call } from '../api.js';
import { fill, h, srOnly, val } from '../dom.js';
import { fieldName } from '../format.js';
import { currentLanguage, t, tOr } from '../i18n.js';
import { errorMessage, loading, message } from '../messages.js';
import { sentence } from '../sentences.js';
import { rememberPin } from './settings-draft.js';

/** Shows the section for a saved `server`. */
export async function showTest(app, panel, signal, server) {
  const body = h('div', {});
  const trust = (sha256) => {
    rememberPin(app, server.id, sha256);
    app.go(`servers/${encodeURIComponent(server.id)}/settings`);
  };
  fill(panel, savedNotice(app, server), h('h2', { class: 'ui header' }, t('test.title')), h('p', { class: 'ls-hint' }, t('test.hint')), body);
  await runTest(app, body, { id: server.id }, { signal, trust });
}

/** What the module said when the server was saved for the first time, once. */
function savedNotice(app, server) {
  const info = app.notices.get(String(server.id));
  app.notices.delete(String(server.id));
  return info && message('positive', t('form.saved'), info.map(sentence));
}

/**
 * Tests the connection `request` describes and shows the steps in `place`. `trust(sha256)` is offered where the
 * server's certificate could not be verified. Throws nothing; answers the refusal when the fields were refused.
 */
export async function runTest(app, place, request, { signal, trust }) {
  fill(place, loading(t('test.loading')));
  try {
    const { data, info } = await call('test-connection', request);
    if (signal.aborted) return null;
    fill(place, stepList(data.steps || [], trust, 'test.passed'),
      info.length > 0 && message('warning', t('warnings.title'), info.map(sentence)));
    app.announce(t('test.passed'));
    return null;
  } catch (error) {
    if (!signal.aborted) showFailure(error, place, trust, () => runTest(app, place, request, { signal, trust }));
    return error;
  }
}

/** A test that failed on the way shows how far it came, one that could not begin only why. */
function showFailure(error, place, trust, retry) {
  const steps = (error.data && error.data.steps) || [];
  const title = t(steps.length ? 'test.stepFailed' : 'test.failed');
  fill(place, steps.length > 0 && stepList(steps, trust, 'test.notPassed'), errorMessage(error, { title, retry }));
}

function stepList(steps, trust, summary) {
  return h('div', { class: 'ui segment' },
    h('ol', { class: 'ls-steps' }, steps.map((step) => stepItem(step, trust))),
    h('p', { class: 'ls-summary' }, t(summary)));
}

function stepItem(step, trust) {
  const mark = h('span', { class: `ls-step-mark ${step.ok ? 'ls-ok' : 'ls-not-ok'}`, 'aria-hidden': 'true' }, step.ok ? '✓' : '✕');
  return h('li', { class: 'ls-step' }, mark,
    h('div', { class: 'ls-step-body' },
      h('strong', {}, tOr(`step.${step.step}`, step.step), srOnly(`: ${t(step.ok ? 'step.ok' : 'step.notOk')}`)),
      h('div', {}, sentence(step.text)),
      step.certificate && certificateDetails(step, trust),
      (step.attributes || []).length > 0 && attributeRights(step.attributes)));
}

function certificateDetails(step, trust) {
  const { certificate } = step;
  const names = [].concat(certificate.subjectAltNames || certificate.subjectAltName || []);
  const rows = [
    ['subject', certificate.subject], ['issuer', certificate.issuer],
    ['valid', [certificate.notBefore, certificate.notAfter].map(dateText).filter(Boolean).join(' – ')],
    ['names', names.join(', ') || t('certificate.noNames')], ['sha256', certificate.sha256],
  ];
  const canTrust = !step.ok && certificate.sha256;
  return h('details', { class: 'ls-details', open: !step.ok },
    h('summary', {}, t('certificate.title')),
    h('dl', { class: 'ls-pairs' }, rows.filter(([, text]) => text).map(([name, text]) => [
      h('dt', {}, t(`certificate.${name}`)), h('dd', { class: name === 'sha256' && 'ls-code' }, val(text)),
    ])),
    canTrust && h('div', { class: 'ui warning message' },
      h('p', {}, t('certificate.trustText')),
      h('button', { type: 'button', class: 'ui button', on: { click: () => trust(certificate.sha256) } }, t('certificate.trust'))));
}

/** Times of a certificate: Unix milliseconds, or text as the server wrote it. */
function dateText(time) {
  if (!time) return '';
  const date = new Date(typeof time === 'number' ? time : String(time));
  return Number.isNaN(date.getTime()) ? String(time) : date.toLocaleDateString(currentLanguage(), { dateStyle: 'medium' });
}

function attributeRights(attributes) {
  const words = { true: 'rights.yes', false: 'rights.no' };
  return h('ul', { class: 'ls-rights' }, attributes.map((entry) => h('li', {},
    h('span', { class: 'ls-code' }, val(entry.attribute)), ' ', h('span', { class: 'ls-muted' }, fieldName(entry.field)), ' – ',
    t(words[String(entry.writable)] || 'rights.unknown'),
    entry.text && h('div', { class: 'ls-muted' }, sentence(entry.text)))));
}
