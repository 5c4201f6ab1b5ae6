// Messages, empty states and questions to the reader.

import { h, uniqueId, val, withBusy } from './dom.js';
import { t } from './i18n.js';
import { sentence } from './sentences.js';

/** The texts and elements that tell of an error: what the module said, or what can be done when it said nothing. */
export function errorTexts(error) {
  if (error.kind === 'signed-out') return [t('error.signedOut')];
  if (error.kind === 'unreachable') return [t('error.unreachable')];
  if (error.kind !== 'refused') return [t('error.page', { text: error.message })];
  const texts = error.messages.map((message) => message.text).filter(Boolean);
  return texts.length ? texts.map(sentence) : [t('error.noReason')];
}

/** An error with what to do about it; `retry` adds a button. */
export function errorMessage(error, { title = t('error.title'), retry } = {}) {
  if (error.name !== 'ApiError') console.error(error);
  return message('negative', title, errorTexts(error), retry && { text: t('button.retry'), run: retry }, 'alert');
}

/** A message of `kind` (Semantic: negative, warning, positive, info) with a title and texts, which may be elements. */
export function message(kind, title, texts, action, role) {
  const lines = texts.map((text) => (text instanceof Node ? text : val(text)));
  const body = lines.length > 1 ? h('ul', { class: 'list' }, lines.map((line) => h('li', {}, line))) : h('p', {}, lines);
  const button = action && h('button', { class: 'ui small button', type: 'button' }, action.text);
  if (button) button.addEventListener('click', () => withBusy(button, async () => action.run()));
  return h('div', { class: `ui ${kind} message`, role },
    title && h('div', { class: 'header' }, title), texts.length > 0 && body, button);
}

/** What is shown where there is nothing yet: what that means and what to do next. */
export function emptyState(title, text, ...actions) {
  return h('div', { class: 'ui placeholder segment ls-empty' },
    h('div', { class: 'ls-empty-title' }, title), h('p', {}, text),
    actions.length > 0 && h('div', { class: 'ls-actions' }, actions));
}

/** A line that says that something is being fetched. */
export function loading(text = t('loading')) {
  return h('div', { class: 'ls-loading', role: 'status' },
    h('span', { class: 'ls-spinner', 'aria-hidden': 'true' }), h('span', {}, text));
}

/** Opens a dialog with `title` above `children`; it goes when it is closed, and the focus returns to where it was. */
export function openDialog(title, ...children) {
  const titleId = uniqueId('dialog');
  const dialog = h('dialog', { class: 'ls-dialog', 'aria-labelledby': titleId },
    h('h2', { class: 'ui header', id: titleId }, title), children);
  dialog.addEventListener('close', () => dialog.remove());
  document.getElementById('module-ldap-sync').append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Asks before something is done. `work` runs when the reader agrees; the question stays open, with the error, when it
 * fails. `kind` colours the button (Semantic: negative, primary), `keep` is the word for leaving things as they are,
 * `content` stands below the text; a field of it with `autofocus` is where the reader begins. Answers whether it was done.
 */
export function confirmAndDo({ title, text, button, work, content = null, kind = 'negative', keep = t('button.keep') }) {
  return new Promise((resolve) => {
    const problem = h('div', {});
    const yes = h('button', { class: `ui ${kind} button`, type: 'submit' }, button);
    const no = h('button', { class: 'ui button', type: 'button', autofocus: true }, keep);
    const form = h('form', { class: 'ui form', novalidate: true }, content, problem, h('div', { class: 'ls-actions' }, yes, no));
    const dialog = openDialog(title, h('p', {}, text), form);
    let done = false;
    dialog.addEventListener('close', () => resolve(done));
    no.addEventListener('click', () => dialog.close());
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      withBusy(yes, async () => {
        try {
          await work();
          done = true;
          dialog.close();
        } catch (error) {
          problem.replaceChildren(errorMessage(error));
        }
      });
    });
  });
}
