/**
 * The syntax of a filter: `key:value`, `!key:value`, `key:a|b`, `key:web-*`; `key` alone
 * is the bare tag. A backslash makes any of
 * `|*!:=\` mean itself. Values are kept here in their escaped form, which tells a star from a wildcard.
 */

/** @typedef {{not: boolean, key: string, values: string[]}} Filter */

/**
 * @param {string} text
 */
export const escape = (text) => text.replace(/[|*!:=\\]/g, '\\$&');

/**
 * @param {string} text
 */
export const unescape = (text) => text.replace(/\\([\s\S])/g, '$1');

/**
 * Splits at the unescaped separators; at most `limit` parts.
 * @param {string} text
 * @param {string} separator
 * @param {number} limit
 */
function split(text, separator, limit) {
  const parts = [''];
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\') parts[parts.length - 1] += text.slice(i, ++i + 1);
    else if (text[i] === separator && parts.length < limit) parts.push('');
    else parts[parts.length - 1] += text[i];
  }
  return parts;
}

/**
 * @param {string} text
 * @returns {Filter | null} null if it has no key; the API then says so in its own words. Also null for the
 *   operators = != =~ !~, which a link may hold and which are kept as they are
 */
export function parseFilter(text) {
  if (/^(\\[\s\S]|[^\\:])*?(=|!~)/.test(text)) return null;
  const not = text.startsWith('!');
  const [key, values = ''] = split(not ? text.slice(1) : text, ':', 2);
  if (key === '') return null;
  return { not, key: unescape(key), values: split(values, '|', Infinity) };
}

/**
 * @param {Filter} filter
 */
export const formatFilter = (filter) => `${filter.not ? '!' : ''}${escape(filter.key)}:${filter.values.join('|')}`;

/**
 * How an escaped value reads on screen.
 * @param {string} value
 */
export function showValue(value) {
  if (value === '*') return 'any value';
  if (value === '') return '(empty)';
  return isPattern(value) ? value : unescape(value);
}

/**
 * Whether an escaped value holds a wildcard.
 * @param {string} value
 */
export const isPattern = (value) => value.replace(/\\[\s\S]/g, '').includes('*');

/**
 * Adds a value to the filter of that key, or takes it out; a filter without values disappears.
 * @param {string[]} filters
 * @param {string} key
 * @param {boolean} not
 * @param {string} value  escaped
 */
export function toggleValue(filters, key, not, value) {
  const at = filters.findIndex((text) => {
    const f = parseFilter(text);
    return f !== null && f.key === key && f.not === not;
  });
  if (at < 0) return [...filters, formatFilter({ not, key, values: [value] })];
  const old = /** @type {Filter} */ (parseFilter(filters[at]));
  const values = old.values.includes(value) ? old.values.filter((v) => v !== value) : [...old.values, value];
  const changed = values.length > 0 ? [formatFilter({ not, key, values })] : [];
  return [...filters.slice(0, at), ...changed, ...filters.slice(at + 1)];
}

/**
 * The escaped values of all filters on a key, on one side.
 * @param {string[]} filters
 * @param {string} key
 * @param {boolean} not
 */
export function valuesOf(filters, key, not) {
  return filters.flatMap((text) => {
    const f = parseFilter(text);
    return f !== null && f.key === key && f.not === not ? f.values : [];
  });
}
