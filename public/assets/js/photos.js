// Photos of people. Each is asked for once it is seen; until it comes, and where there is none, the initials stand there.

import { call, insideMikoPbx } from './api.js';
import { fill, h } from './dom.js';

/** How many photos are asked for at once: MikoPBX has three processes for all requests. */
const AT_ONCE = insideMikoPbx() ? 1 : 2;

/** The kinds of images that are shown. */
const TYPES = ['image/jpeg', 'image/png', 'image/gif', 'image/webp'];

/** What was answered since the page was loaded, by person: an image's address, or null where there is no photo. */
const answers = new Map();

/** The requests under way, by person. */
const requests = new Map();

/** Places nobody has seen yet. */
const unseen = new WeakMap();

/** Places that were seen and wait for their turn. */
const queue = [];

let busy = 0;
/** A request has failed: the next ones would wait as long, and fail as well. */
let failed = false;
let observer = null;

/**
 * The photo of a person of the directory server `serverId`, who is called `name`. Null when this release of the module
 * serves no photos.
 */
export function photo(app, serverId, directoryId, name) {
  if (!app.can('get-photo')) return null;
  const element = h('span', { class: 'ls-photo', 'aria-hidden': 'true', dir: 'auto' }, initials(name));
  const key = JSON.stringify([String(serverId), directoryId]);
  if (answers.has(key)) show(element, answers.get(key));
  else whenSeen(element, { element, key, body: { id: serverId, directoryId } });
  return element;
}

/** A synchronisation may have changed photos, and what failed may work now: whoever is shown next is asked for anew. */
export function forgetPhotos() {
  answers.clear();
  failed = false;
}

/** `content` beside a photo; without one it keeps the place free where others of the table have theirs. */
export function besidePhoto(picture, ...content) {
  if (!picture) return h('div', { class: 'ls-without-photo' }, content);
  return h('div', { class: 'ls-with-photo' }, picture, h('div', {}, content));
}

/** The first letters of a name's first two words. */
export function initials(name) {
  const letters = String(name || '').split(/\s+/).map((word) => (/\p{L}\p{M}{0,2}/u.exec(word) || [''])[0]);
  return letters.filter(Boolean).slice(0, 2).join('').toUpperCase();
}

/** The address of an image as `get-photo` answers it; null when there is none, or none of a kind that is shown. */
export function imageAddress(data) {
  if (!data || !TYPES.includes(data.type) || !data.base64) return null;
  return `data:${data.type};base64,${data.base64}`;
}

function whenSeen(element, place) {
  observer = observer || new IntersectionObserver(seen);
  unseen.set(element, place);
  observer.observe(element);
}

function seen(entries) {
  entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => {
    observer.unobserve(target);
    queue.push(unseen.get(target));
  });
  next();
}

function next() {
  while (busy < AT_ONCE && queue.length > 0) {
    busy += 1;
    load(queue.shift()).finally(() => {
      busy -= 1;
      next();
    });
  }
}

/** Shows the photo of a place, unless the reader has gone elsewhere meanwhile. */
async function load({ element, key, body }) {
  if (!element.isConnected || failed) return;
  try {
    if (!answers.has(key)) await ask(key, body);
    show(element, answers.get(key));
  } catch (error) {
    failed = true;
    console.debug('no photo:', error);
  }
}

/** Asks for a photo; two places of one person share a request. */
function ask(key, body) {
  if (!requests.has(key)) {
    requests.set(key, call('get-photo', body)
      .then(({ data }) => answers.set(key, imageAddress(data)))
      .finally(() => requests.delete(key)));
  }
  return requests.get(key);
}

/** Puts the image in the place of the initials; they come back when the browser cannot read it. */
function show(element, address) {
  if (!address) return;
  const letters = [...element.childNodes];
  fill(element, h('img', { alt: '', src: address, on: { error: () => fill(element, letters) } }));
}
