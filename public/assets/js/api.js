// The module's actions over HTTP: the same page served by the module's own host program and inside MikoPBX.

const MODULE_ID = 'ModuleLdapSync';

/**
 * A request that did not succeed. `kind` is `refused` (the module answered, `messages` say why and `data` is what it
 * found out on the way, or null), `signed-out` or `unreachable` (no usable answer arrived, so it is not known whether
 * the action took place).
 */
export class ApiError extends Error {
  constructor(kind, messages = [], data = null) {
    super(messages.map((message) => message.text).join(' ') || kind);
    this.name = 'ApiError';
    this.kind = kind;
    this.messages = messages;
    this.data = data;
  }
}

/** Asks the module for `action`. Answers `{ data, info }`; throws `ApiError`. */
export async function call(action, body = {}) {
  const answer = insideMikoPbx() ? await sendByPbx(action, body) : await sendByFetch(action, body);
  return open(answer);
}

/** Whether MikoPBX's admin cabinet is around the page. */
export function insideMikoPbx() {
  return typeof window.globalRootUrl !== 'undefined';
}

function address(action) {
  if (!insideMikoPbx()) return `/api/${action}`;
  // `Config` is a global constant of MikoPBX's page, which is no property of `window`.
  // eslint-disable-next-line no-undef
  const origin = (typeof Config !== 'undefined' && Config.pbxUrl) || '';
  return `${origin}/pbxcore/api/modules/${MODULE_ID}/${action}`;
}

async function sendByFetch(action, body) {
  let response;
  try {
    response = await fetch(address(action), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
      cache: 'no-store',
    });
    return { status: response.status, body: await response.json() };
  } catch {
    return { status: response ? response.status : 0, body: null };
  }
}

/** MikoPBX adds the administrator's token to every `jQuery.ajax` request, and only to those. */
function sendByPbx(action, body) {
  return new Promise((resolve) => {
    window.jQuery.ajax({
      url: address(action),
      method: 'POST',
      contentType: 'application/json',
      dataType: 'json',
      data: JSON.stringify(body),
      complete: (xhr) => resolve({ status: xhr.status, body: xhr.responseJSON || null }),
    });
  });
}

function open({ status, body }) {
  if (body && typeof body === 'object' && 'result' in body) {
    const messages = body.messages || {};
    if (body.result) return { data: body.data, info: texts(messages.info).map((message) => message.text) };
    throw new ApiError('refused', texts(messages.error), body.data ?? null);
  }
  throw new ApiError(status === 401 || status === 403 ? 'signed-out' : 'unreachable');
}

/** Messages come as sentences or as `{ field, text }`. */
function texts(list) {
  return [].concat(list || []).map((entry) => (entry && typeof entry === 'object'
    ? { field: entry.field || null, text: String(entry.text || '') }
    : { field: null, text: String(entry) }));
}
