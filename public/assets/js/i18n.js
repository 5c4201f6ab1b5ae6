// The page's words, one JSON file per language. A new language is its file in `assets/i18n` and one line here.

export const LANGUAGES = {
  en: 'English',
  ru: 'Русский',
};

const FALLBACK = 'en';

let language = FALLBACK;
let words = {};
let fallbackWords = {};
let plurals = new Intl.PluralRules(FALLBACK);

/** Chooses and loads the language. `preferred` is tried after `?lang=` of the address and before the browser's. */
export async function loadLanguage(folder, preferred) {
  language = choose([new URLSearchParams(window.location.search).get('lang'), preferred, ...navigator.languages]);
  plurals = new Intl.PluralRules(language);
  [fallbackWords, words] = await Promise.all([read(folder, FALLBACK), read(folder, language)]);
}

function choose(candidates) {
  const codes = candidates.filter(Boolean).map((tag) => tag.toLowerCase().split(/[-_]/)[0]);
  return codes.find((code) => Object.hasOwn(LANGUAGES, code)) || FALLBACK;
}

async function read(folder, code) {
  const response = await fetch(new URL(`${code}.json`, folder));
  if (!response.ok) throw new Error(`${code}.json: HTTP ${response.status}`);
  return response.json();
}

/** The language in use, as a BCP 47 tag. */
export function currentLanguage() {
  return language;
}

/**
 * The words for `key`. `{name}` in them is replaced by `params.name`; where they have plural forms, `params.count`
 * chooses. Replaced values are isolated, so that a right-to-left name does not turn the sentence around.
 */
export function t(key, params = {}) {
  const entry = words[key] ?? fallbackWords[key];
  return entry === undefined ? key : filled(entry, params);
}

/** `entry`, a text or one for each plural form, with its places filled as `t` does. */
export function filled(entry, params) {
  const text = typeof entry === 'string' ? entry : entry[plurals.select(params.count)] ?? entry.other;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in params ? isolate(params[name]) : whole));
}

/** The module's sentences in the language in use, by the English ones; none where the language is English. */
export function sentences() {
  return words.sentences || {};
}

/** The words for `key`, or `otherwise` when the page has none (a state or cause newer than the page). */
export function tOr(key, otherwise) {
  return key in words || key in fallbackWords ? t(key) : otherwise;
}

function isolate(value) {
  return typeof value === 'number' ? value.toLocaleString(language) : `\u2068${value}\u2069`;
}
