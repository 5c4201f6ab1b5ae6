// The module's sentences in the page's language. The module writes English; under `sentences` a language's file has each
// of them with named places. What a place takes is told by its name, behind which a digit may stand:
//   count    a number; it chooses the plural form
//   what     something the file has words for
//   reason   the same, or anything else
//   list     several of these, with ", " or "; " in between
// Any other place takes a value, which stays as it is.

import { val } from './dom.js';
import { currentLanguage, filled, sentences } from './i18n.js';

/** Characters of a text that is looked for; a longer one is some server's, and takes too long. */
const MOST = 2000;

/** Sentences within sentences within sentences. */
const DEEPEST = 6;

/** One sentence of a list has fewer separators of its own. */
const LONGEST = 6;

/** The words for what a place takes; null where it does not take it. */
const PLACES = {
  count: Number,
  what: (text, depth) => translated(text, depth),
  reason: (text, depth) => translated(text, depth) ?? text,
  list: (text, depth) => each(text, /(, |; )/, depth, (part) => part),
};

const remembered = new Map();
let compiled = null;

/** A sentence of the module in the page's language, or as it is where the language has no words for it. */
export function said(text) {
  const words = known(text || '');
  return words === null ? text : words.replace(/[\u2068\u2069]/g, '');
}

/** The same as an element, which tells when it stays English. */
export function sentence(text) {
  const words = known(text || '');
  return val(words ?? text, { lang: words === null && currentLanguage() !== 'en' && 'en' });
}

/** The words for a text, looked for once; null where there are none. */
function known(text) {
  if (!remembered.has(text)) remembered.set(text, translated(text, 0));
  return remembered.get(text);
}

function translated(text, depth) {
  if (text === '') return '';
  if (depth > DEEPEST || text.length > MOST) return null;
  const several = text.includes('; ') ? each(text, /(; )/, depth, null) : null;
  return several ?? one(text, depth);
}

/**
 * Sentences with `separators` in between. `otherwise(part)` answers the words for what is none; where it is null, all must
 * be sentences, else null is answered.
 */
function each(text, separators, depth, otherwise) {
  const parts = text.split(separators);
  let words = '';
  for (let at = 0; at < parts.length;) {
    const found = shortest(parts, at, depth, !otherwise) || (otherwise && { words: otherwise(parts[at]), end: at + 1 });
    if (!found) return null;
    words += found.words + (parts[found.end] ?? '');
    at = found.end + 1;
  }
  return words;
}

/** The shortest sentence that begins with the part `at`, and where it ends. */
function shortest(parts, at, depth, strict) {
  for (let end = at + 1; end <= parts.length && end < at + 2 * LONGEST; end += 2) {
    const words = one(parts.slice(at, end).join(''), depth, strict);
    if (words !== null) return { words, end };
  }
  return null;
}

/** One sentence: that of the templates it fits which says the most itself; `strict` wants one that says something. */
function one(text, depth, strict = false) {
  compiled = compiled || compile(sentences());
  if (compiled.whole.has(text)) return compiled.whole.get(text);
  const ended = withEnding(text, depth);
  if (ended !== null) return ended;
  for (const template of compiled.templates) {
    const values = text.includes(template.longest) && !(strict && template.loose) ? fit(template, text, depth) : null;
    if (values) return filled(template.entry, values);
  }
  return null;
}

/** A sentence with something at its end that others end with too, which is no part of a list before it. */
function withEnding(text, depth) {
  for (const { entry, parts } of compiled.endings) {
    const words = text.endsWith(parts[2]) ? translated(text.slice(0, -parts[2].length), depth + 1) : null;
    if (words) return filled(entry, { [parts[1]]: words });
  }
  return null;
}

/** What stands in the places of a template; null where the text does not fit. */
function fit(template, text, depth) {
  template.pattern = template.pattern || pattern(template);
  const found = template.pattern.exec(text);
  if (!found) return null;
  const values = {};
  for (const [index, name] of template.places.entries()) {
    const words = (PLACES[kind(name)] || String)(found[index + 1], depth + 1);
    if (words === null) return null;
    values[name] = words;
  }
  return values;
}

function kind(place) {
  return place.replace(/\d$/, '');
}

/** The entries without places as a map, those with places as templates, the most literal ones first. */
function compile(entries) {
  const whole = new Map();
  const templates = [];
  for (const [english, entry] of Object.entries(entries)) {
    const parts = english.split(/\{(\w+)\}/);
    if (parts.length === 1) {
      whole.set(english, entry);
    } else {
      const literal = parts.filter((_, index) => index % 2 === 0);
      const longest = literal.reduce((a, b) => (b.length > a.length ? b : a));
      const places = parts.filter((_, index) => index % 2 === 1);
      const loose = !/\p{L}/u.test(literal.join('')) && places.some((place) => !Object.hasOwn(PLACES, kind(place)));
      templates.push({ entry, parts, places, longest, loose, length: literal.join('').length, pattern: null });
    }
  }
  templates.sort((a, b) => b.length - a.length);
  const endings = templates.filter(({ parts }) => parts.length === 3 && kind(parts[1]) === 'reason' && !parts[0] && parts[2]);
  return { whole, templates, endings };
}

function pattern({ parts }) {
  const places = { count: '(\\d+)', what: `(${[...compiled.whole.keys()].sort(byLength).map(escaped).join('|')}|[^]*?)` };
  const source = parts.map((part, index) => (index % 2 === 0 ? escaped(part) : places[kind(part)] || '([^]*?)'));
  return new RegExp(`^${source.join('')}$`);
}

function byLength(a, b) {
  return b.length - a.length;
}

function escaped(text) {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
}
