// The page's words, one JSON file per language in `assets/i18n`. Whoever serves the page says in `languages.json` which
// files there are; nothing else names the languages.

const FALLBACK = 'en';

let available = [FALLBACK];
let language = FALLBACK;
let words = {};
let fallbackWords = {};
let plurals = new Intl.PluralRules(FALLBACK);

/** Chooses and loads the language. `preferred` is tried after `?lang=` of the address and before the browser's. */
export async function loadLanguage(folder, preferred) {
  [available, fallbackWords] = await Promise.all([read(folder, 'languages'), read(folder, FALLBACK)]);
  language = choose([new URLSearchParams(window.location.search).get('lang'), preferred, ...navigator.languages]);
  plurals = new Intl.PluralRules(language);
  words = language === FALLBACK ? fallbackWords : await read(folder, language);
}

/** The languages there are, each with the name it has in itself. */
export function languages() {
  return available.map((code) => {
    const name = new Intl.DisplayNames([code], { type: 'language' }).of(code);
    return [code, name.charAt(0).toLocaleUpperCase(code) + name.slice(1)];
  });
}

function choose(candidates) {
  const codes = candidates.filter(Boolean).map((tag) => tag.toLowerCase().split(/[-_]/)[0]);
  return codes.find((code) => available.includes(code)) || FALLBACK;
}

async function read(folder, name) {
  const response = await fetch(new URL(`${name}.json`, folder));
  if (!response.ok) throw new Error(`${name}.json: HTTP ${response.status}`);
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
