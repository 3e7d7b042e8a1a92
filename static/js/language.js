// The visitor's language. The server selects it and names the URL of the translations.

/**
 * A text, or its singular and plural forms. Keyed by the English text.
 * @typedef {Record<string, string | string[]>} Words
 */

// Without a connection, English texts are better than none.
const PATIENCE_MS = 8000;

/** The page's language for `Intl`. English has the conventions of the region. */
export const language = chosenLanguage();

const words = await readWords();
const plurals = new Intl.PluralRules(language);

function chosenLanguage() {
  // Node.js has a navigator too, since version 21.
  if (!globalThis.document) return "en";
  const chosen = document.documentElement.lang || "en";
  // A matching language of the visitor is more specific: de-AT, es-MX.
  return navigator.languages.find((tag) => tag.split("-")[0] === chosen) ?? chosen;
}

/** @returns {Promise<Words>} */
async function readWords() {
  /** @type {HTMLLinkElement | null} */
  const link = globalThis.document?.querySelector("link[data-words]") ?? null;
  if (link === null) return {};
  try {
    const response = await fetch(link.href, { signal: AbortSignal.timeout(PATIENCE_MS) });
    return response.ok ? await response.json() : {};
  } catch {
    return {};
  }
}

/**
 * Return a text in the page's language. Values replace `{name}` placeholders.
 * @param {string} text in English
 * @param {Record<string, string | number>} [values]
 */
export function gettext(text, values) {
  const found = words[text];
  return fill(typeof found === "string" ? found : text, values);
}

/**
 * Return the singular or plural text of a number, which replaces `{count}`.
 * @param {string} one in English
 * @param {string} more
 * @param {number} count
 * @param {Record<string, string | number>} [values]
 */
export function ngettext(one, more, count, values) {
  const forms = words[one];
  const [single, plural] = Array.isArray(forms) ? forms : [one, more];
  const text = plurals.select(count) === "one" ? single : plural;
  return fill(text, { count: number(count), ...values });
}

/** @param {string} text @param {Record<string, string | number>} [values] */
function fill(text, values) {
  if (!values) return text;
  return text.replace(/\{(\w+)\}/g, (all, name) => String(values[name] ?? all));
}

/** @type {Map<number, Intl.NumberFormat>} */
const formats = new Map();

/**
 * Return a number in the format of the page's language.
 * @param {number} value
 * @param {number} [digits] behind the point
 */
export function number(value, digits = 0) {
  let format = formats.get(digits);
  if (!format) {
    const fraction = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    format = new Intl.NumberFormat(language, fraction);
    formats.set(digits, format);
  }
  return format.format(value);
}
