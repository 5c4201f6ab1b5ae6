// Building the page's elements. Text always becomes text nodes: nothing the server sends is ever parsed as HTML.

/**
 * Makes an element. `props` holds attributes; `class` may be a string, `on` an object of event listeners and
 * `dataset` an object of data attributes. Attributes that are null, undefined or false are left out.
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'on') Object.entries(value).forEach(([event, listener]) => element.addEventListener(event, listener));
    else if (name === 'dataset') Object.assign(element.dataset, value);
    else if (name === 'value' || name === 'checked' || name === 'selected') element[name] = value;
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  append(element, children);
  return element;
}

function append(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === '') continue;
    parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Replaces everything in `parent` by `children`. */
export function fill(parent, ...children) {
  parent.replaceChildren();
  append(parent, children);
  return parent;
}

/** A value from the server: isolated, in the direction of its own script. */
export function val(text, props = {}) {
  return h('bdi', { dir: 'auto', ...props }, text === null || text === undefined ? '' : String(text));
}

/** Text for screen readers only. */
export function srOnly(text) {
  return h('span', { class: 'ls-sr' }, text);
}

let lastId = 0;

/** An id that no other element of the page has. */
export function uniqueId(prefix) {
  lastId += 1;
  return `ls-${prefix}-${lastId}`;
}

/** Runs `work` while `button` shows that it is busy; a second press meanwhile does nothing. */
export async function withBusy(button, work) {
  if (button.getAttribute('aria-disabled') === 'true') return undefined;
  button.setAttribute('aria-disabled', 'true');
  button.setAttribute('aria-busy', 'true');
  button.classList.add('loading');
  try {
    return await work();
  } finally {
    button.removeAttribute('aria-disabled');
    button.removeAttribute('aria-busy');
    button.classList.remove('loading');
  }
}

/** Calls `work` once after `ms` milliseconds without another call. */
export function debounce(work, ms) {
  let timer;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...args), ms);
  };
}

/** Makes a button look and say that it does nothing now; it keeps the focus. */
export function setDisabled(button, disabled) {
  button.classList.toggle('disabled', disabled);
  if (disabled) button.setAttribute('aria-disabled', 'true');
  else button.removeAttribute('aria-disabled');
}
