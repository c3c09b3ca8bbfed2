/**
 * What the page shows, as one value that lives in the URL's query string: a copied link reproduces
 * the view, and the browser's back button undoes.
 */
import { batch, computed, signal } from './lib.js';

/**
 * @typedef {object} View
 * @property {string} m  metric
 * @property {string} kind  of the metric, or '' if the name alone tells
 * @property {string[]} f  filters, in the API's syntax
 * @property {string[]} by  tag keys to group by
 * @property {string} fn  function, or '' for the kind's default
 * @property {string} step  auto or a duration
 * @property {string} range  a relative range such as 1h, or '' when from and to hold
 * @property {string} from
 * @property {string} to
 * @property {string} type  bars, stacked or lines, or '' for what suits the function
 * @property {string} sort  legend column, '-' first for descending
 * @property {string[]} show  keys of the only series to draw; empty: all
 * @property {string[]} hide  keys of series not to draw
 * @property {string} back  the last relative range, to which a double-click on the chart returns; not in the URL
 */

const DEFAULT_RANGE = '1h';
export const TYPES = ['bars', 'stacked', 'lines'];

/**
 * @param {string} search
 * @param {string} back
 * @returns {View}
 */
export function parse(search, back) {
  const q = new URLSearchParams(search);
  const from = q.get('from') ?? '';
  const range = from === '' ? (q.get('range') ?? DEFAULT_RANGE) : '';
  const type = q.get('type') ?? '';
  return {
    m: q.get('m') ?? '',
    kind: q.get('kind') ?? '',
    f: q.getAll('f'),
    by: q.getAll('by'),
    fn: q.get('fn') ?? '',
    step: q.get('step') || 'auto',
    range,
    from,
    to: from === '' ? '' : q.get('to') || 'now',
    type: TYPES.includes(type) ? type : '',
    sort: q.get('sort') || '-total',
    show: q.getAll('show'),
    hide: q.getAll('hide'),
    back: range || back || DEFAULT_RANGE,
  };
}

/**
 * encodeURIComponent without the escapes that a query string does not need, so that links stay readable.
 * @param {string} text
 */
const encode = (text) => encodeURIComponent(text).replace(/%3A/g, ':').replace(/%2F/g, '/').replace(/%2C/g, ',');

/**
 * The query string of a view. Step and range are written even when they are the default, so that an old link
 * keeps its meaning if a default changes; function and type are not, because their default is the metric's.
 * @param {View} v
 */
export function format(v) {
  /** @type {[string, string][]} */
  const pairs = [];
  if (v.m !== '') pairs.push(['m', v.m]);
  if (v.kind !== '') pairs.push(['kind', v.kind]);
  for (const f of v.f) pairs.push(['f', f]);
  for (const by of v.by) pairs.push(['by', by]);
  if (v.fn !== '') pairs.push(['fn', v.fn]);
  pairs.push(['step', v.step]);
  if (v.range !== '') pairs.push(['range', v.range]);
  else pairs.push(['from', v.from], ['to', v.to]);
  if (v.type !== '') pairs.push(['type', v.type]);
  if (v.sort !== '-total') pairs.push(['sort', v.sort]);
  for (const key of v.show) pairs.push(['show', key]);
  for (const key of v.hide) pairs.push(['hide', key]);
  return `?${pairs.map(([k, value]) => `${k}=${encode(value)}`).join('&')}`;
}

/**
 * The page of an address: its fragment names it; without one a query string is Explore's, and none is Live.
 * What follows the page's name is for the page itself.
 */
function place() {
  const [name, ...rest] = location.hash.slice(1).split('/');
  if (name === 'metrics' || name === 'explore') return { page: name, rest };
  return { page: location.search === '' ? 'live' : 'explore', rest: [] };
}

const here = signal(place());

/** live, explore or metrics */
export const page = computed(() => here.value.page);

/** The metric whose details the page Metrics shows, or null. */
export const detail = computed(() => {
  const [kind, name] = here.value.rest;
  if (page.value !== 'metrics' || name === undefined) return null;
  try {
    return { kind, metric: decodeURIComponent(name) };
  } catch {
    return null; // a link that was cut
  }
});

/** The link to a metric's details. @param {string} kind @param {string} metric */
export const detailLink = (kind, metric) => `./#metrics/${kind}/${encodeURIComponent(metric)}`;

export const view = signal(parse(location.search, history.state?.back ?? ''));

/** The query string of GET /api/query for the current view; '' without a metric. */
export const query = computed(() => {
  const v = view.value;
  if (v.m === '') return '';
  const pairs = [['metric', v.m]];
  if (v.kind !== '') pairs.push(['kind', v.kind]);
  for (const f of v.f) pairs.push(['filter', f]);
  for (const by of v.by) pairs.push(['by', by]);
  if (v.range !== '') pairs.push(['from', `-${v.range}`], ['to', 'now']);
  else pairs.push(['from', v.from], ['to', v.to]);
  pairs.push(['step', v.step]);
  if (v.fn !== '') pairs.push(['fn', v.fn]);
  return pairs.map(([k, value]) => `${k}=${encodeURIComponent(value)}`).join('&');
});

/** Whether the window moves with the clock. */
export const live = computed(() => view.value.range !== '' || /^(now|-)/.test(view.value.to));

/**
 * Changes the view. What a person does becomes a step of the browser's history; what the page decides
 * by itself replaces the current one.
 * @param {Partial<View>} patch
 * @param {{replace?: boolean}} [how]
 */
export function update(patch, { replace = false } = {}) {
  const old = view.peek();
  const next = { ...old, ...patch };
  const regrouped = patch.by !== undefined || (patch.m !== undefined && patch.m !== old.m) || (patch.kind !== undefined && patch.kind !== old.kind);
  if (regrouped && patch.show === undefined) next.show = next.hide = [];
  if (next.range !== '') next.back = next.range;
  const url = format(next);
  if (url === format(old) && location.search === url) return;
  history[replace ? 'replaceState' : 'pushState']({ back: next.back }, '', url);
  batch(() => {
    view.value = next;
    here.value = place();
  });
}

/** Reads the address anew. @param {string} [back] */
function arrive(back) {
  batch(() => {
    view.value = parse(location.search, back ?? view.peek().back);
    here.value = place();
  });
}

/**
 * Goes to a link of this page without loading it anew.
 * @param {string} href  relative
 */
export function go(href) {
  const url = new URL(href, location.href);
  if (url.href !== location.href) history.pushState(null, '', url.href);
  arrive();
}

/** Follows a link that was clicked, unless it was to open elsewhere. @param {MouseEvent} event */
export function follow(event) {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(/** @type {HTMLAnchorElement} */ (event.currentTarget).href);
}

/**
 * The link to a metric in Explore.
 * @param {string} m
 * @param {string} [kind]  if the name has several
 * @param {string[]} [f]  filters
 * @param {string} [range]
 */
export const exploreLink = (m, kind = '', f = [], range = DEFAULT_RANGE) => `./${format({ ...parse('', ''), m, kind, f, range })}`;

/**
 * Chooses a metric; filters and groups of another metric rarely fit, so they go.
 * @param {string} m
 * @param {string} kind  '' if the name alone tells
 * @param {string} fn
 */
export const chooseMetric = (m, kind, fn) => update({ m, kind, fn, f: [], by: [] });

/** @param {string} range */
export const chooseRange = (range) => update({ range, from: '', to: '' });

/**
 * @param {number} from  Unix seconds
 * @param {number} to  Unix seconds, not included
 */
export const chooseWindow = (from, to) => update({ range: '', from: String(from), to: String(to) });

/** Returns from a zoomed or absolute window to the relative range before it. */
export function resetWindow() {
  if (view.peek().range === '') chooseRange(view.peek().back);
}

window.addEventListener('popstate', (event) => arrive(event.state?.back));
