/** Numbers, durations and times as text. Times are shown in the browser's zone. */

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** @param {number} n */
const two = (n) => String(n).padStart(2, '0');

/** @param {number} unix */
const local = (unix) => new Date(unix * 1000);

/**
 * Every digit of a number, grouped: 1234567.5 → "1,234,567.5".
 * @param {number} n
 */
export function exact(n) {
  const text = String(n);
  if (!/^-?\d+(\.\d+)?$/.test(text)) return text;
  const [whole, fraction] = text.split('.');
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ',');
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}

/** Sums of decimal fractions end in binary noise of about this size, relative to the sum. */
const NOISE = 1e-12;

/**
 * A number for reading. One with more than six decimals (10/3) is rounded, and says so.
 * @param {number} n
 */
export function figure(n) {
  if (Math.abs(n) < 1e-6 || Math.abs(n) >= 1e21) return exact(n);
  const rounded = Number(n.toFixed(6));
  return Math.abs(rounded - n) <= Math.abs(n) * NOISE ? exact(rounded) : `≈ ${exact(rounded)}`;
}

/**
 * A number for a table cell: at most three decimals, or two significant digits when it is tiny.
 * @param {number | null} n
 */
export function cell(n) {
  if (n === null || n === undefined) return '–';
  if (n !== 0 && Math.abs(n) < 0.001) return exact(Number(n.toPrecision(2)));
  return Math.abs(n) >= 1e21 ? exact(n) : exact(Number(n.toFixed(3)));
}

/**
 * A short number for an axis: 1500 → "1.5k".
 * @param {number} n
 */
export function compact(n) {
  const size = Math.abs(n);
  for (const [unit, suffix] of /** @type {[number, string][]} */ ([[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']])) {
    if (size >= unit) return Number((n / unit).toPrecision(6)) + suffix;
  }
  return String(Number(n.toPrecision(6)));
}

/**
 * Bytes to three significant digits: 1536 → "1.5 KiB".
 * @param {number} bytes
 */
export function size(bytes) {
  let n = bytes;
  for (const unit of ['bytes', 'KiB', 'MiB', 'GiB']) {
    if (Math.abs(n) < 1024) return `${exact(Number(n.toPrecision(3)))} ${unit}`;
    n /= 1024;
  }
  return `${exact(Number(n.toPrecision(3)))} TiB`;
}

/**
 * A rate to three significant digits: "3.21/s".
 * @param {number} n
 */
export function perSecond(n) {
  const rounded = Math.abs(n) >= 100 ? Math.round(n) : Number(n.toPrecision(3));
  return `${exact(rounded)}/s`;
}

/**
 * A length of time in its largest whole unit, as the API writes it: 600 → "10m".
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds % 86400 === 0) return `${seconds / 86400}d`;
  if (seconds % 3600 === 0) return `${seconds / 3600}h`;
  if (seconds % 60 === 0) return `${seconds / 60}m`;
  return `${seconds}s`;
}

/**
 * @param {number} seconds
 */
export function ago(seconds) {
  if (seconds < 2) return 'now';
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

/**
 * @param {number} unix
 * @param {boolean} [seconds]
 */
export function clock(unix, seconds = true) {
  const d = local(unix);
  return `${two(d.getHours())}:${two(d.getMinutes())}${seconds ? `:${two(d.getSeconds())}` : ''}`;
}

/**
 * @param {number} unix
 * @param {boolean} [year]
 */
export function day(unix, year = false) {
  const d = local(unix);
  return `${d.getDate()} ${MONTHS[d.getMonth()]}${year ? ` ${d.getFullYear()}` : ''}`;
}

/**
 * What the server says, as a sentence of the page: the API begins in lower case, as errors in logs do.
 * @param {string} text
 */
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');

/**
 * The time span [from, to), with the day written once if both ends share it.
 * @param {number} from
 * @param {number} to
 */
export function span(from, to) {
  const start = `${day(from, true)}, ${clock(from)}`;
  return day(from, true) === day(to, true) ? `${start} – ${clock(to)}` : `${start} – ${day(to, true)}, ${clock(to)}`;
}

/**
 * The browser's zone at that moment: "UTC", "GMT+1".
 * @param {number} unix
 */
export function zone(unix) {
  const parts = new Intl.DateTimeFormat('en', { timeZoneName: 'short' }).formatToParts(local(unix));
  return parts.find((p) => p.type === 'timeZoneName')?.value ?? '';
}

/**
 * The value of a datetime-local input.
 * @param {number} unix
 */
export function inputTime(unix) {
  const d = local(unix);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}T${clock(unix)}`;
}

/**
 * Labels of the time axis: the clock on the first line; the day under the first tick and wherever it changes.
 * @param {number[]} splits  Unix seconds
 * @param {number} increment  seconds between ticks
 */
export function axisTimes(splits, increment) {
  let shown = '';
  return splits.map((t) => {
    const today = day(t);
    if (increment >= 86400) {
      const year = String(local(t).getFullYear());
      const label = year === shown ? today : `${today}\n${year}`;
      shown = year;
      return label;
    }
    const label = today === shown ? clock(t, increment < 60) : `${clock(t, increment < 60)}\n${today}`;
    shown = today;
    return label;
  });
}
