/** The kinds of metrics, their functions, and how a function's numbers are named, written and drawn. */
import { cell, compact, exact, figure } from './format.js';

/** @typedef {{id: string, text: string, title: string}} Choice */

/** @param {string} id @param {string} text @param {string} title @returns {Choice} */
const choice = (id, text, title) => ({ id, text, title });

/**
 * The functions of each kind, its default first. A distribution also has any other percentile.
 * @type {Map<string, Choice[]>}
 */
const FUNCTIONS = new Map([
  ['counter', [
    choice('count', 'Count', 'The sum of what was counted'),
    choice('rate', 'Rate per s', 'The count divided by the seconds of a bucket'),
  ]],
  ['gauge', [
    choice('last', 'Last', 'The latest reading'),
    choice('avg', 'Average', 'The mean of the readings'),
    choice('min', 'Min', 'The smallest reading'),
    choice('max', 'Max', 'The largest reading'),
    choice('sum', 'Sum', 'All readings added up'),
    choice('count', 'Count', 'How many readings there were'),
  ]],
  ['distribution', [
    choice('p95', 'p95', '95% of the observations do not exceed it'),
    choice('p50', 'p50, the median', 'Half of the observations do not exceed it'),
    choice('p75', 'p75', '75% of the observations do not exceed it'),
    choice('p90', 'p90', '90% of the observations do not exceed it'),
    choice('p99', 'p99', '99% of the observations do not exceed it'),
    choice('p99.9', 'p99.9', '99.9% of the observations do not exceed it'),
    choice('avg', 'Average', 'The mean of the observations'),
    choice('min', 'Min', 'The smallest observation'),
    choice('max', 'Max', 'The largest observation'),
    choice('sum', 'Sum', 'All observations added up'),
    choice('count', 'Count', 'How many observations there were'),
    choice('rate', 'Rate per s', 'Observations a second'),
    choice('above', 'Share above …', 'The part of the observations above a value'),
    choice('below', 'Share below …', 'The part of the observations below a value'),
  ]],
  ['set', [choice('uniques', 'Uniques', 'Different members, within 2%')]],
]);

/** @param {string} kind */
export const isKind = (kind) => FUNCTIONS.has(kind);

/** @param {string} kind */
export const functionsOf = (kind) => FUNCTIONS.get(kind) ?? [];

/** The kind's default function, '' for a kind that is not known. @param {string} kind */
export const defaultFn = (kind) => functionsOf(kind)[0]?.id ?? '';

/** @param {string} fn */
export const isPercentile = (fn) => /^p\d+(\.\d*)?$/.test(fn) && Number(fn.slice(1)) <= 100;

/**
 * The side and the value of above:<x> and below:<x>, or null.
 * @param {string} fn
 */
export function share(fn) {
  const parts = /^(above|below):(.+)$/.exec(fn);
  return parts !== null && Number.isFinite(Number(parts[2])) ? { side: parts[1], x: parts[2] } : null;
}

/**
 * @param {string} kind
 * @param {string} fn  '' is the default, which each kind has
 */
export function hasFn(kind, fn) {
  if (fn === '') return true;
  if (kind === 'distribution' && (isPercentile(fn) || share(fn) !== null)) return true;
  return fn !== 'above' && fn !== 'below' && functionsOf(kind).some((f) => f.id === fn);
}

/** Whether it tells how many there were, so that a rate can be made of its total. @param {string} fn */
export const isCount = (fn) => fn === 'count' || fn === 'rate';

/** Whether the numbers of two series add up to that of both. @param {string} fn */
export const isAdditive = (fn) => isCount(fn) || fn === 'sum';

/**
 * What the chart becomes: what was chosen, if it makes sense for the function, or else amounts as bars and
 * levels as lines.
 * @param {string} chosen  '' is no choice
 * @param {string} fn
 */
export function typeFor(chosen, fn) {
  if (chosen !== '' && (chosen !== 'stacked' || isAdditive(fn))) return chosen;
  return fn === 'count' || fn === 'uniques' ? 'bars' : 'lines';
}

const NAMES = new Map([
  ['last', 'last reading'], ['avg', 'average'], ['min', 'minimum'], ['max', 'maximum'], ['sum', 'sum'], ['uniques', 'uniques'],
]);

/** @param {string} fn */
function nameOf(fn) {
  const s = share(fn);
  return s !== null ? `share ${s.side} ${s.x}` : NAMES.get(fn) ?? fn;
}

const THINGS = new Map([['gauge', 'readings'], ['distribution', 'observations']]);

/**
 * What the number of the whole range is; that of a rate is the count.
 * @param {string} fn
 */
export const totalName = (fn) => (isCount(fn) ? 'count over the range' : fn === 'last' ? 'last reading in the range' : `${nameOf(fn)} over the range`);

/**
 * What each point of the chart is.
 * @param {string} kind
 * @param {string} fn
 * @param {string} step
 */
export function pointName(kind, fn, step) {
  const things = THINGS.get(kind) ?? 'events';
  if (fn === 'rate') return `${things} per second`;
  return fn === 'count' ? `${things} per ${step} bucket` : `${nameOf(fn)} of each ${step} bucket`;
}

/** Sums and extremes are exact; all others are estimates or quotients, whose digits beyond these say nothing. */
const DIGITS = 4;

/** @param {number} n */
const rounded = (n) => (Math.abs(n) >= 10 ** (DIGITS - 1) ? Math.round(n) : Number(n.toPrecision(DIGITS)));

/** @param {number} n */
const percent = (n) => `${exact(Number((100 * n).toPrecision(DIGITS)))}%`;

/**
 * The number of the whole range, in full where it is exact.
 * @param {string} fn
 * @param {number | null} n
 */
export function totalText(fn, n) {
  if (n === null) return '–';
  if (share(fn) !== null) return percent(n);
  if (fn === 'uniques') return exact(Math.round(n));
  return fn === 'avg' || isPercentile(fn) ? exact(rounded(n)) : figure(n);
}

/**
 * The number of one bucket.
 * @param {string} fn
 * @param {number | null} n
 */
export function pointText(fn, n) {
  if (n === null) return '–';
  if (share(fn) !== null) return percent(n);
  if (fn === 'uniques') return exact(Math.round(n));
  return fn === 'avg' || isPercentile(fn) ? exact(rounded(n)) : cell(n);
}

/**
 * A number beside the value axis.
 * @param {string} fn
 * @param {number} n
 */
export const axisText = (fn, n) => (share(fn) !== null ? `${compact(100 * n)}%` : compact(n));

/** How exact the number of the whole range is. @param {string} fn */
export function precision(fn) {
  if (fn === 'uniques') return 'within 2%';
  if (isPercentile(fn)) return 'within 1%';
  return share(fn) !== null ? 'observations within 1% of the value are in neither share' : '';
}
