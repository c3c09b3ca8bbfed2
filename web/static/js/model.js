/** From a result to what is drawn: identity, colour and visibility of series, stacks and scales. */
import { escape } from './filter.js';
import { computed } from './lib.js';
import { result } from './data.js';
import { typeFor } from './kinds.js';
import { assignSlots, inks, palette } from './palette.js';
import { view } from './state.js';

/**
 * @typedef {import('./types/answers.js').Series & {key: string, label: {key: string, value: string}[], color: string, on: boolean,
 *   bottoms: (number | null)[], tops: (number | null)[]}} Drawn  bottoms and tops are the ends of each bar
 * @typedef {{series: Drawn[], visible: Drawn[], type: string, fn: string, times: number[], from: number, to: number, step: number,
 *   sealedUntil: number, low: number, high: number, points: number, hasOpen: boolean,
 *   whole: boolean}} Plot  whole: every value is a whole number
 */

/**
 * A series' identity in links: its tags as filters, sorted.
 * @param {import('./types/answers.js').Tags} tags
 */
export function seriesKey(tags) {
  const pairs = Object.entries(tags).flatMap(([key, value]) => [value].flat().map((v) => `${escape(key)}:${escape(v)}`));
  return pairs.sort().join('|');
}

/**
 * @param {import('./types/answers.js').Tags} tags
 */
function labelOf(tags) {
  return Object.entries(tags).map(([key, value]) => ({ key, value: [value].flat().map((v) => v || '(empty)').join(' + ') }));
}

/**
 * The label as one line of text.
 * @param {{key: string, value: string}[]} label
 * @param {string[]} by
 */
export function labelText(label, by) {
  if (label.length > 0) return label.map((l) => l.value).join(' · ');
  return by.length > 0 ? `no ${by.join(', ')}` : 'all series';
}

const ORDER = new Intl.Collator('en', { numeric: true });

/** @param {string[]} show @param {string[]} hide @param {string} key */
const isOn = (show, hide, key) => (show.length > 0 ? show.includes(key) : !hide.includes(key));

/**
 * Puts the bars of each bucket on one another; what is negative hangs below zero.
 * @param {Drawn[]} visible
 * @param {number} length
 */
function stack(visible, length) {
  const up = new Float64Array(length);
  const down = new Float64Array(length);
  for (const s of visible) {
    s.bottoms = s.values.map((v, i) => (v === null ? null : v < 0 ? down[i] : up[i]));
    s.tops = s.values.map((v, i) => {
      if (v === null) return null;
      const pile = v < 0 ? down : up;
      pile[i] += v;
      return pile[i];
    });
  }
}

/** What of the height is left free above and below what is drawn. */
const MARGIN = 0.06;

/**
 * The ends of the value axis of lines: levels far from zero would be flat on an axis that begins there.
 * @param {Drawn[]} visible
 */
function span(visible) {
  let low = Infinity;
  let high = -Infinity;
  for (const s of visible) {
    for (const v of s.values) {
      if (v === null) continue;
      if (v > high) high = v;
      if (v < low) low = v;
    }
  }
  if (low > high) return { low: 0, high: 1 };
  if (low === high) return low === 0 ? { low: 0, high: 1 } : { low: low - Math.abs(low) / 2, high: low + Math.abs(low) / 2 };
  const margin = (high - low) * MARGIN;
  // Space below zero would claim that there are values.
  return { low: low >= 0 ? Math.max(0, low - margin) : low - margin, high: high <= 0 ? Math.min(0, high + margin) : high + margin };
}

/**
 * The ends of the value axis of bars, whose length tells, so that it begins at zero.
 * @param {Drawn[]} visible
 */
function extent(visible) {
  let low = 0;
  let high = 0;
  for (const s of visible) {
    for (const top of s.tops) {
      if (top === null) continue;
      if (top > high) high = top;
      if (top < low) low = top;
    }
  }
  if (low === 0 && high === 0) high = 1;
  return { low: low < 0 ? low * (1 + MARGIN) : 0, high: high > 0 ? high * (1 + MARGIN) : 0 };
}

/** What the chart shows now, or null before the first result. */
export const plot = computed(() => {
  const r = result.value;
  if (r === null) return null;
  const { show, hide } = view.value;
  const type = typeFor(view.value.type, r.fn);
  const keys = r.series.map((s) => seriesKey(s.tags));
  const slots = assignSlots(keys);
  const single = r.series.length === 1 && keys[0] === '';
  // A link may name series that this window does not hold; an empty picture would only puzzle.
  const only = show.some((key) => keys.includes(key)) ? show : [];
  /** @type {Drawn[]} */
  const series = r.series.map((s, i) => ({
    ...s,
    key: keys[i],
    label: labelOf(s.tags),
    color: single ? inks.value.only : palette.value[slots.get(keys[i]) ?? 0],
    on: isOn(only, hide, keys[i]),
    bottoms: [],
    tops: s.values,
  }));
  // Drawn in the order of their names: the order of totals changes while one watches.
  const visible = series.filter((s) => s.on).sort((a, b) => ORDER.compare(a.key, b.key));
  if (type === 'stacked') stack(visible, r.times.length);
  const points = visible.reduce((sum, s) => sum + s.values.filter((v) => v !== null).length, 0);
  return /** @type {Plot} */ ({
    series,
    visible,
    type,
    fn: r.fn,
    times: r.times,
    from: r.from,
    to: r.to,
    step: r.step,
    sealedUntil: r.sealed_until,
    ...(type === 'lines' ? span(visible) : extent(visible)),
    points,
    hasOpen: r.to > r.sealed_until,
    whole: visible.every((s) => s.values.every((v) => v === null || Number.isInteger(v))),
  });
});
