// What a page of MikoPBX's admin cabinet has before a module's scripts run: its globals, and as much of jQuery as the
// module's scripts use. Requests to the PBX's REST interface go to the host program's web server.

var globalRootUrl = '/admin-cabinet/';
var globalTranslate = { module_ldap_KeptInStep: 'Kept in step with the directory' };
const Config = { pbxUrl: '' };

const REST = '/pbxcore/api/modules/ModuleLdapSync/';

class Elements {
  constructor(elements) {
    this.elements = elements;
  }

  ready(callback) {
    document.addEventListener('DOMContentLoaded', callback);
  }

  on(name, callback) {
    this.elements.forEach((element) => element.addEventListener(name, callback));
    return this;
  }
}

function jQuery(what) {
  return new Elements(what === document ? [document] : [...document.querySelectorAll(what)]);
}

jQuery.ajax = (options) => {
  if (!options.url.startsWith(REST)) throw new Error(`a module asks for ${options.url}`);
  const answer = fetch(`/api/${options.url.slice(REST.length)}`, {
    method: options.method, headers: { 'Content-Type': options.contentType }, body: options.data,
  }).then(async (response) => {
    const xhr = { status: response.status, responseJSON: await response.json() };
    if (options.complete) options.complete(xhr);
    if (!response.ok) throw xhr;
    return xhr.responseJSON;
  });
  const chain = {
    done(callback) { answer.then(callback, () => {}); return chain; },
    fail(callback) { answer.catch(callback); return chain; },
  };
  return chain;
};

window.jQuery = jQuery;
window.$ = jQuery;
