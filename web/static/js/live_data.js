/** What the page Live shows: each metric's last two minutes, how busy it is, and its place. */
import { getHot } from './api.js';
import { metrics, quality, repeat, tried, visible, watching } from './data.js';
import { batch, computed, effect, signal, untracked } from './lib.js';
import { followQuery } from './stream.js';

/** @typedef {import('./types/answers.js').Result} Result */
/** @typedef {import('./types/answers.js').Series} Series */
/** @typedef {import('./types/answers.js').Hot} Hot */
/** @typedef {{id: string, metric: string, kind: string, series: Series, answer: Result}} Row */

/** The kinds; two of them come as streams, because a browser has six connections to a host, for all its tabs. */
const KINDS = [
  { kind: 'counter', streams: true },
  { kind: 'distribution', streams: true },
  { kind: 'gauge', streams: false },
  { kind: 'set', streams: false },
];
const WINDOW = 'by=__name__&from=-2m&to=now&limit=1000';
/**
 * Of two minutes, 60 bars: 1,000 metrics a kind stay below what may be streamed. Where there are so many metrics that
 * the server refuses, fewer.
 */
const STEPS = ['2s', '10s', '1m'];
const HOT_EVERY = 2000;

/** The last answer of each kind. */
const answers = signal(/** @type {Record<string, Result>} */ ({}));
/** Why there is no newer answer, by kind; '' where there is. */
export const refusals = signal(/** @type {Record<string, string>} */ ({}));
/** null until the first answer. @type {import('../vendor/signals-core.js').Signal<Hot | null>} */
export const hot = signal(/** @type {Hot | null} */ (null));

/** @param {string} kind @param {string} metric */
export const idOf = (kind, metric) => `${kind} ${metric}`;

/** Events a second of each metric, by id: of the 1,000 busiest series. */
export const rates = computed(() => {
  /** @type {Map<string, number>} */
  const sums = new Map();
  for (const s of hot.value?.series ?? []) {
    const id = idOf(s.kind, s.metric);
    sums.set(id, (sums.get(id) ?? 0) + s.rate);
  }
  return sums;
});

/** The metrics that moved in the window, by id. */
export const rows = computed(() => {
  /** @type {Map<string, Row>} */
  const all = new Map();
  for (const answer of Object.values(answers.value)) {
    for (const series of answer.series) {
      const metric = String(series.tags.__name__ ?? '');
      const id = idOf(answer.kind, metric);
      all.set(id, { id, metric, kind: answer.kind, series, answer });
    }
  }
  return all;
});

/** Whether more metrics moved than are among the rows. */
export const cut = computed(() => Object.values(answers.value).some((a) => a.truncated));

/** Every kind has answered once. */
export const complete = computed(() => Object.keys(answers.value).length === KINDS.length);

/** Names that stand for several kinds, which a link must name. */
export const ambiguous = computed(() => new Set((metrics.value ?? []).filter((m) => m.conflict).map((m) => m.metric)));

/** Events a second, from the ledger's counts of the last seconds; null until there is a second between them. */
export const eventRate = signal(/** @type {number | null} */ (null));
/** Long enough that the seconds' edges do not show. */
const RATE_OVER = 5000;
/** Two counts that are close to one another tell of a moment only. */
const RATE_AFTER = 900;

/** The order of ids. */
export const order = signal(/** @type {string[]} */ ([]));
const RANK_EVERY = 4000;
/** Whoever points at the tiles keeps them in place. */
export const pointed = signal(false);

/** Metrics whose rates differ by less than this factor keep their order. */
const SAME = Math.log(1.5);

/** How busy, in steps: first by events, then by what was counted. @param {Row} row */
function level(row) {
  const rate = rates.peek().get(row.id) ?? 0;
  if (rate > 0) return 1000 + Math.round(Math.log(rate) / SAME);
  const counted = row.kind === 'counter' ? (row.series.total ?? 0) : 0;
  return counted > 0 ? Math.round(Math.log(counted) / SAME) : -1000;
}

/** Orders anew: busiest first, and among those that are about as busy as before. */
function rank() {
  const place = new Map(order.peek().map((id, i) => [id, i]));
  const all = [...rows.peek().values()].map((row) => ({ id: row.id, level: level(row), place: place.get(row.id) ?? Infinity }));
  all.sort((a, b) => b.level - a.level || (a.place === b.place ? 0 : a.place - b.place) || (a.id < b.id ? -1 : 1));
  order.value = all.map((row) => row.id);
}

/** Keeps places between two rankings: who is new comes last, who is gone goes. */
function keepPlaces() {
  const now = rows.value;
  const old = order.peek();
  const kept = old.filter((id) => now.has(id));
  const known = new Set(kept);
  const fresh = [...now.keys()].filter((id) => !known.has(id));
  if (fresh.length > 0 || kept.length < old.length) order.value = [...kept, ...fresh];
}

/** Reads the busiest series, until the returned function is called. */
export function followHot() {
  return repeat(async () => {
    const h = await tried(getHot());
    if (h !== null) hot.value = h;
    return HOT_EVERY;
  });
}

/** Derives the rate from the ledger's counts. */
function followRate() {
  /** @type {{at: number, n: number}[]} */
  let counts = [];
  return effect(() => {
    if (quality.value === null) return;
    const next = { at: performance.now(), n: quality.value.ledger.accepted };
    const last = counts.at(-1);
    if (last && (next.n < last.n || next.at - last.at > 2 * RATE_OVER)) counts = []; // another process, or a pause
    counts.push(next);
    while (counts.length > 2 && next.at - counts[1].at >= RATE_OVER) counts.shift();
    const over = next.at - counts[0].at;
    eventRate.value = over >= RATE_AFTER ? (1000 * (next.n - counts[0].n)) / over : null;
  });
}

/** Follows all that Live shows while the tab is seen, until the returned function is called. */
export function followLive() {
  watching.value = watching.peek() + 1;
  let ranked = -Infinity;
  let first = true; // until all kinds are there
  const stops = [
    () => {
      watching.value = watching.peek() - 1;
    },
    followRate(),
    effect(() => {
      if (!visible.value) return undefined;
      return untracked(() => {
        const inner = KINDS.map(({ kind, streams }) => followQuery(
          STEPS.map((step) => `metric=*&kind=${kind}&${WINDOW}&step=${step}`),
          streams,
          (answer) => {
            answers.value = { ...answers.peek(), [kind]: answer };
          },
          (sentence) => {
            if ((refusals.peek()[kind] ?? '') !== sentence) refusals.value = { ...refusals.peek(), [kind]: sentence };
          },
        ));
        inner.push(followHot());
        return () => inner.forEach((stop) => stop());
      });
    }),
    effect(() => {
      void rows.value;
      void hot.value;
      const now = performance.now();
      untracked(() => batch(() => {
        const due = now - ranked >= RANK_EVERY || (first && complete.peek());
        if (hot.peek() !== null && !pointed.peek() && due) {
          ranked = now;
          first = !complete.peek();
          rank();
        } else keepPlaces();
      }));
    }),
  ];
  return () => stops.forEach((stop) => stop());
}
