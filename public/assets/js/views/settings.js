// The form of a server's settings.

import { ApiError, call } from '../api.js';
import { fill, h, uniqueId, val, withBusy } from '../dom.js';
import { duration, fieldName } from '../format.js';
import { t } from '../i18n.js';
import { confirmAndDo, errorMessage, loading, message } from '../messages.js';
import { sentence } from '../sentences.js';
import { serverTitle } from '../status.js';
import { runTest } from './connection.js';
import { addFilterCount, addUnitPicker, attributeReader } from './pickers.js';
import {
  ATTRIBUTES, BOTH_CHANGED, DIRECTIONS, FIELDS, STORED_PASSWORD, TYPES, changeSecurity, changeType, draftKey, fromSettings, newServer, toBody,
} from './settings-draft.js';

/** Attributes whose purpose their name does not tell. */
const ATTRIBUTES_WITH_HINT = ['userAccountControl', 'userPasswordAttribute', 'userEmployeeNumberAttribute'];

/** Shows the section for `server`, or the form of a new one when it is null. */
export async function showSettings(app, panel, signal, server) {
  if (!server) {
    new SettingsForm(app, panel, signal, newServer()).show();
    return;
  }
  if (server.error) {
    showDamaged(app, panel, signal, server);
    return;
  }
  fill(panel, loading());
  try {
    const { data, info } = await call('get-server', { id: server.id });
    if (signal.aborted) return;
    const form = new SettingsForm(app, panel, signal, { ...fromSettings(data), id: server.id }, server);
    form.show();
    form.showInfo('warning', t('warnings.title'), info);
  } catch (error) {
    if (!signal.aborted) fill(panel, errorMessage(error, { retry: () => showSettings(app, panel, signal, server) }));
  }
}

/** Settings that cannot be read are typed anew: the form begins as that of a new server. */
function showDamaged(app, panel, signal, server) {
  const values = { ...newServer(), id: server.id, autosync: Boolean(server.autosync) };
  new SettingsForm(app, panel, signal, values, server).show();
}

/** The form. `values` are what is typed now, `saved` what the module holds. */
class SettingsForm {
  constructor(app, panel, signal, saved, server = null) {
    Object.assign(this, { app, panel, signal, saved, server });
    this.key = draftKey(saved.id);
    this.values = { ...structuredClone(saved), ...structuredClone(app.drafts.get(this.key) || {}) };
    this.controls = new Map();
    this.followers = [];
    this.problem = h('div', {});
    this.testPlace = h('div', {});
    this.result = h('div', {});
    this.unsaved = h('span', { class: 'ls-muted' });
  }

  show() {
    this.draftNote = this.app.drafts.has(this.key) ? message('info', t('form.draftTitle'), [t('form.draftText')]) : h('div', {});
    const save = h('button', { type: 'submit', class: 'ui primary button' }, t('button.save'));
    const form = h('form', { class: 'ui form ls-form', novalidate: true, autocomplete: 'off' },
      this.draftNote, this.serverFields(), this.signInFields(), this.searchFields(), this.attributeFields(),
      this.numberFields(), this.ruleFields(), this.leaverFields(), this.scheduleFields(),
      this.problem, this.testPlace,
      h('div', { class: 'ls-actions ls-form-actions' }, save, this.testButton(), this.discardButton(), this.unsaved));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      withBusy(save, () => this.save());
    });
    fill(this.panel,
      h(this.server ? 'h2' : 'h1', { class: 'ui header' }, t(this.server ? 'action.settings' : 'server.add')),
      this.result, form, this.server && this.app.can('delete-server') && this.deleteSection());
    this.refresh();
  }

  serverFields() {
    return fieldset('server',
      h('div', { class: 'two fields' },
        this.select('ldapType', TYPES.map((type) => [type, t(`type.${type}`)]), (type) => this.replace(changeType(this.values, type))),
        this.text('serverName', { hint: true, placeholder: 'dc1.example.com, dc2.example.com' })),
      h('div', { class: 'two fields' },
        this.select('security', ['ldaps', 'starttls', 'none'].map((kind) => [kind, t(`security.${kind}`)]),
          (security) => this.replace(changeSecurity(this.values, security))),
        this.text('serverPort', { type: 'number', min: 1, max: 65535 })),
      this.plainPart = h('div', {}, this.checkbox('allowPlain', { hint: true })),
      this.tlsPart = h('div', {}, this.checkbox('verifyCertificate', { hint: true }),
        this.textarea('caCertificate', { hint: true, placeholder: '-----BEGIN CERTIFICATE-----' }),
        this.text('pinnedCertificate', { hint: true, class: 'ls-code' })));
  }

  signInFields() {
    return fieldset('signIn', h('div', { class: 'two fields' },
      this.text('administrativeLogin', { hint: true, placeholder: 'cn=sync,dc=example,dc=com' }),
      this.text('administrativePassword', { type: 'password', hint: true, autocomplete: 'new-password' })));
  }

  searchFields() {
    const fields = fieldset('search',
      this.text('baseDN', { placeholder: 'dc=example,dc=com' }),
      this.text('organizationalUnit', { hint: true, placeholder: 'ou=people,dc=example,dc=com' }),
      this.text('userFilter', { hint: true, class: 'ls-code' }));
    addUnitPicker(this);
    addFilterCount(this);
    return fields;
  }

  attributeFields() {
    const rows = [];
    for (let index = 0; index < ATTRIBUTES.length; index += 2) {
      rows.push(h('div', { class: 'two fields' }, ATTRIBUTES.slice(index, index + 2)
        .map((name) => this.text(`attributes.${name}`, { hint: ATTRIBUTES_WITH_HINT.includes(name) }))));
    }
    this.secretWarning = message('warning', t('form.secretWarning'), [t('form.secretWarningText')]);
    return fieldset('attributes', h('p', { class: 'ls-hint' }, t('form.attributesHint')), attributeReader(this), rows,
      this.secretWarning);
  }

  numberFields() {
    return fieldset('numbers',
      h('div', { class: 'two fields' },
        this.text('numberFrom', { type: 'number', min: 0, hint: true }), this.text('numberTo', { type: 'number', min: 0 })),
      this.checkbox('poolWhenTaken', { hint: true }),
      h('div', { class: 'two fields' }, this.text('defaultRegion', { hint: true, maxlength: 2 })),
      this.checkbox('forwardToMobile', { hint: true }));
  }

  scheduleFields() {
    return fieldset('schedule', this.checkbox('autosync', { hint: true }),
      h('div', { class: 'two fields' },
        this.text('syncInterval', { type: 'number', min: 30, hint: true }),
        this.text('mostNewPeople', { type: 'number', min: 1, hint: true })),
      h('div', { class: 'three fields' },
        this.text('completeRunAt', { type: 'time', hint: true }),
        this.text('quietFrom', { type: 'time', hint: true }), this.text('quietTo', { type: 'time' })));
  }

  /** For each field: which way its changes travel, and what stands when both sides changed. */
  ruleFields() {
    const rules = Object.keys(FIELDS).map((field) => {
      const directions = DIRECTIONS.filter((direction) => direction !== 'off' || field !== 'name');
      return h('div', { class: 'ls-rule', role: 'group', 'aria-label': fieldName(field) },
        h('div', { class: 'ls-rule-field' }, fieldName(field), h('div', { class: 'ls-muted ls-code', dataset: { mapped: field } })),
        this.rule(`fieldDirections.${field}`, 'direction', directions),
        this.rule(`fieldConflicts.${field}`, 'bothChanged', BOTH_CHANGED));
    });
    return fieldset('rules', this.checkbox('updateAttributes', { hint: true }), h('p', { class: 'ls-hint' }, t('form.rulesHint')), this.rules = h('div', { class: 'ls-rules' }, rules),
      h('details', { class: 'ls-details' }, h('summary', {}, t('form.newestExplained')), h('p', { class: 'ls-hint' }, t('form.newestText'))));
  }

  rule(name, kind, choices) {
    return this.select(name, choices.map((choice) => [choice, t(`${kind}.${choice}`)]), null, t(`form.${kind}`));
  }

  leaverFields() {
    return fieldset('leavers', h('p', { class: 'ls-hint' }, t('form.leaversHint')),
      h('div', { class: 'two fields' },
        this.text('stopLeaversAfter', { type: 'number', min: 0, max: 3650, hint: true, placeholder: t('form.never') }),
        this.text('deleteLeaversAfter', { type: 'number', min: 0, max: 3650, hint: true, placeholder: t('form.never') })));
  }

  // Controls. Each is registered under its name in the body of config-save.

  text(name, options = {}) {
    const { type = 'text', hint, class: className, ...attributes } = options;
    const input = h('input', { type, spellcheck: 'false', dir: 'auto', autocomplete: 'off', class: className, ...attributes });
    return this.field(name, input, hint);
  }

  textarea(name, { hint, ...attributes }) {
    return this.field(name, h('textarea', { rows: 4, spellcheck: 'false', class: 'ls-code', ...attributes }), hint);
  }

  select(name, choices, onChange, label = t(`form.${name}`)) {
    const select = h('select', { class: 'ui fluid dropdown' }, choices.map(([value, text]) => h('option', { value }, text)));
    return this.field(name, select, false, onChange, label);
  }

  field(name, control, hint, onChange, label = t(`form.${name}`)) {
    const element = h('div', { class: 'field' }, h('label', { for: this.register(name, control, hint, onChange) }, label), control);
    this.finishField(name, element, hint);
    return element;
  }

  checkbox(name, { hint }) {
    const input = h('input', { type: 'checkbox' });
    const id = this.register(name, input, hint);
    const element = h('div', { class: 'field' }, h('div', { class: 'ui checkbox' }, input, h('label', { for: id }, t(`form.${name}`))));
    this.finishField(name, element, hint);
    return element;
  }

  register(name, control, hint, onChange) {
    const id = uniqueId('field');
    control.id = id;
    control.dataset.field = name;
    const property = control.type === 'checkbox' ? 'checked' : 'value';
    control[property] = read(this.values, name);
    const changed = () => {
      if (onChange) onChange(control.value);
      else write(this.values, name, control[property]);
      this.clearError(name);
      this.refresh();
    };
    control.addEventListener(onChange ? 'change' : 'input', changed);
    this.controls.set(name, { control, property, hintId: hint ? uniqueId('hint') : null, noteId: null });
    return id;
  }

  finishField(name, element, hint) {
    const entry = this.controls.get(name);
    entry.element = element;
    entry.error = h('div', { class: 'ui basic red pointing prompt label ls-field-error', id: uniqueId('error'), hidden: true });
    element.append(entry.error);
    if (hint) {
      entry.hint = h('div', { class: 'ls-hint', id: entry.hintId }, t(`form.${name}.hint`));
      element.append(entry.hint);
      describe(entry);
    }
  }

  // What the pickers need of the form.

  /** Puts `button` beside the control of a field, and `places` beneath it. */
  beside(name, button, ...places) {
    const { control, element } = this.controls.get(name);
    const row = h('div', { class: 'ls-beside' });
    control.replaceWith(row);
    row.append(control, button);
    element.append(...places);
  }

  /** An empty line beneath a field that describes it. */
  note(name) {
    const entry = this.controls.get(name);
    entry.noteId = uniqueId('note');
    const line = h('div', { class: 'ls-hint', id: entry.noteId, hidden: true, dataset: { note: name } });
    entry.element.append(line);
    describe(entry);
    return line;
  }

  /** Fills a field as if it was typed. */
  type(name, value) {
    const { control } = this.controls.get(name);
    control.value = value;
    control.dispatchEvent(new Event('input', { bubbles: true }));
    control.focus();
  }

  /** Calls `work` whenever a value has changed. */
  follow(work) {
    this.followers.push(work);
  }

  /** Takes over values that something other than typing changed. */
  replace(values) {
    this.values = values;
    this.controls.forEach(({ control, property }, name) => { control[property] = read(values, name); });
    this.refresh();
  }

  /** Brings hints, hidden parts and the draft up to date with the values. */
  refresh() {
    const plain = this.values.security === 'none';
    this.plainPart.hidden = !plain;
    this.tlsPart.hidden = plain;
    this.secretWarning.hidden = !this.values.attributes.userPasswordAttribute;
    this.refreshRules();
    const seconds = Number(this.values.syncInterval);
    this.controls.get('syncInterval').hint.textContent = seconds > 0
      ? t('form.syncInterval.every', { time: duration(seconds * 1000) }) : t('form.syncInterval.hint');
    this.controls.get('administrativePassword').hint.textContent = t(
      this.saved.administrativePassword === STORED_PASSWORD ? 'form.administrativePassword.stored' : 'form.administrativePassword.hint');
    const dirty = JSON.stringify(this.values) !== JSON.stringify(this.saved);
    if (dirty) this.app.drafts.set(this.key, this.values);
    else this.app.drafts.delete(this.key);
    this.discard.hidden = !dirty;
    if (!dirty) this.draftNote.hidden = true;
    this.unsaved.textContent = dirty ? t('form.unsaved') : '';
    this.followers.forEach((work) => work());
  }

  /** What happens when both sides changed is asked only of values that travel both ways. */
  refreshRules() {
    for (const [field, attribute] of Object.entries(FIELDS)) {
      const twoWay = this.values.fieldDirections[field] === 'two-way';
      this.controls.get(`fieldConflicts.${field}`).element.classList.toggle('ls-invisible', !twoWay);
      this.rules.querySelector(`[data-mapped="${field}"]`).textContent = this.values.attributes[attribute] || t('form.notMapped');
    }
  }

  // Buttons.

  testButton() {
    if (!this.app.can('test-connection')) return null;
    const button = h('button', { type: 'button', class: 'ui button' }, t('action.test'));
    button.addEventListener('click', () => withBusy(button, async () => {
      this.clearErrors();
      const error = await runTest(this.app, this.testPlace, toBody(this.values), {
        signal: this.signal, trust: (sha256) => this.trust(sha256),
      });
      if (error && this.namesField(error)) {
        fill(this.testPlace);
        this.showErrors(error, t('test.failed'));
      }
    }));
    return button;
  }

  trust(sha256) {
    this.replace({ ...this.values, pinnedCertificate: sha256 });
    this.app.announce(t('certificate.trusted'));
    this.controls.get('pinnedCertificate').control.focus();
  }

  discardButton() {
    this.discard = h('button', { type: 'button', class: 'ui basic button', hidden: true }, t('form.discard'));
    this.discard.addEventListener('click', () => {
      this.clearErrors();
      this.replace(structuredClone(this.saved));
      this.app.announce(t('form.discarded'));
    });
    return this.discard;
  }

  /** Fields whose text is no number: to a script they look empty, and would be saved so. */
  unreadable() {
    const bad = [...this.controls].filter(([, { control }]) => control.validity.badInput);
    return bad.map(([field]) => ({ field, text: t('form.notANumber') }));
  }

  async save() {
    this.clearErrors();
    fill(this.result);
    const unreadable = this.unreadable();
    if (unreadable.length > 0) {
      this.showErrors(new ApiError('refused', unreadable), t('form.notSaved'), val);
      return;
    }
    const sent = structuredClone(this.values);
    try {
      const { data, info } = await call('config-save', toBody(sent));
      this.app.drafts.delete(this.key);
      this.app.announce(t('form.saved'));
      await this.app.status.reload();
      if (this.signal.aborted) return;
      if (this.server) this.showSaved(data, info);
      else this.goToNew(data.id, info);
    } catch (error) {
      if (!this.signal.aborted) this.showErrors(error, t('form.notSaved'));
    }
  }

  /** A new server is tested first; what the module said about its settings is shown there. */
  goToNew(id, info) {
    this.app.notices.set(String(id), info);
    this.app.go(`servers/${encodeURIComponent(id)}/${this.app.can('test-connection') ? 'test' : 'settings'}`);
  }

  showSaved(data, info) {
    this.saved = { ...fromSettings({ ...toBody(this.values), ...data }), id: this.server.id };
    this.replace(structuredClone(this.saved));
    fill(this.result, message('positive', t('form.saved'), info.map(sentence)));
    this.panel.scrollIntoView();
  }

  /** Shows the module's sentences about the settings above the form. */
  showInfo(kind, title, texts) {
    fill(this.result, texts.length > 0 && message(kind, title, texts.map(sentence)));
  }

  // Errors: beside their field where the field is known, above the buttons otherwise.

  /** `shown` makes an element of the text of an error. */
  showErrors(error, title, shown = sentence) {
    const general = [];
    let first = null;
    for (const entry of error.messages || []) {
      const field = this.find(entry.field);
      if (field) this.showFieldError(field, shown(entry.text));
      else general.push(entry);
      first = first || field;
    }
    if (first) {
      fill(this.problem, message('negative', title, general.length ? general.map((entry) => shown(entry.text)) : [t('form.lookAtFields')], null, 'alert'));
      first.control.focus();
    } else {
      fill(this.problem, errorMessage(error, { title }));
      this.problem.scrollIntoView({ block: 'nearest' });
    }
  }

  /** The field an error names, with or without the group it stands in. */
  find(name) {
    if (!name) return null;
    return this.controls.get(name) || this.controls.get(`attributes.${name}`) || null;
  }

  /** Whether an error is about a field of the form. */
  namesField(error) {
    return (error.messages || []).some((entry) => this.find(entry.field));
  }

  showFieldError(entry, text) {
    const { element, control, error } = entry;
    element.classList.add('error');
    fill(error, text);
    error.hidden = false;
    control.setAttribute('aria-invalid', 'true');
    describe(entry);
    const hiddenPart = [this.plainPart, this.tlsPart].find((part) => part.contains(element));
    if (hiddenPart) hiddenPart.hidden = false;
  }

  clearError(name) {
    const entry = this.controls.get(name);
    entry.element.classList.remove('error');
    entry.error.hidden = true;
    entry.control.removeAttribute('aria-invalid');
    describe(entry);
  }

  clearErrors() {
    this.controls.forEach((_, name) => this.clearError(name));
    fill(this.problem);
  }

  deleteSection() {
    const button = h('button', { type: 'button', class: 'ui negative basic button' }, t('server.delete'));
    button.addEventListener('click', async () => {
      const deleted = await confirmAndDo({
        title: t('server.deleteTitle', { server: serverTitle(this.server) }),
        text: t('server.deleteText'),
        button: t('server.delete'),
        work: () => call('delete-server', { id: this.server.id }),
      });
      if (!deleted) return;
      this.app.drafts.delete(this.key);
      this.app.jobs.delete(String(this.server.id));
      this.app.announce(t('server.deleted'));
      await this.app.status.reload();
      this.app.go('');
    });
    return h('section', { class: 'ls-section ls-danger' }, h('h3', { class: 'ui header' }, t('server.delete')),
      h('p', { class: 'ls-hint' }, t('server.deleteText')), button);
  }
}

function fieldset(name, ...children) {
  return h('fieldset', { class: 'ui segment ls-fieldset' }, h('legend', {}, t(`form.group.${name}`)), children);
}

/** Names the lines that describe a control: its error while there is one, its hint, what the directory says of it. */
function describe({ control, error, hintId, noteId }) {
  const lines = [!error.hidden && error.id, hintId, noteId].filter(Boolean);
  if (lines.length) control.setAttribute('aria-describedby', lines.join(' '));
  else control.removeAttribute('aria-describedby');
}

/** A name may have a group in front: `attributes.userNameAttribute`. */
function read(values, name) {
  const [group, key] = name.split('.');
  return key === undefined ? values[group] : values[group][key];
}

function write(values, name, value) {
  const [group, key] = name.split('.');
  if (key === undefined) values[group] = value;
  else values[group][key] = value;
}
