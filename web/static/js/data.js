/**
 * What the server said, as signals, and the loops that keep it fresh: one for the query, one for the
 * lists of metrics and tags, one for the ledger, one for what is stored while that is shown. None has two requests in flight, and all rest while the tab is hidden.
 */
import { ApiError, Unreachable, connection, getMetrics, getQuality, getQuery, getStatus, getStorage, getTags } from './api.js';
import { batch, computed, effect, signal, untracked } from './lib.js';
import { defaultFn, hasFn, isKind } from './kinds.js';
import { chooseMetric, live, page, query, update, view } from './state.js';

/** @typedef {import('./types/answers.js').Status} Status */
/** @typedef {import('./types/answers.js').Metric} Metric */
/** @typedef {import('./types/answers.js').Tag} Tag */
/** @typedef {import('./types/answers.js').Quality} Quality */
/** @typedef {import('./types/answers.js').Result} Result */
/** @typedef {import('./types/answers.js').Storage} Storage */

const SECOND = 1000;
/** Lists change slowly; this is also the heartbeat that notices a lost server while no query runs. */
const LISTS_EVERY = 10 * SECOND;
/** Beyond a day a pixel is minutes wide, and a second changes nothing that could be seen. */
const LONG_WINDOW = 86400;

/** @type {import('../vendor/signals-core.js').Signal<Status | null>} */
export const status = signal(/** @type {Status | null} */ (null));
/** null until the first answer. @type {import('../vendor/signals-core.js').Signal<Metric[] | null>} */
export const metrics = signal(/** @type {Metric[] | null} */ (null));
/** @type {import('../vendor/signals-core.js').Signal<{metric: string, tags: Tag[]}>} */
export const tags = signal({ metric: '', tags: /** @type {Tag[]} */ ([]) });
/** null until the first answer. @type {import('../vendor/signals-core.js').Signal<Quality | null>} */
export const quality = signal(/** @type {Quality | null} */ (null));
/** null until the first answer. @type {import('../vendor/signals-core.js').Signal<Storage | null>} */
export const storage = signal(/** @type {Storage | null} */ (null));
/** How many look at its figures: while somebody does, they are read each second. */
export const watching = signal(0);
/** The last good answer; stays until a newer one is there. */
export const result = signal(/** @type {Result | null} */ (null));
/** The last refusal of the current query, or null. */
export const refusal = signal(/** @type {ApiError | null} */ (null));
/** The view changed and its answer is not there yet. */
export const pending = signal(false);

/** The server has never seen an event. */
export const isEmpty = computed(() => metrics.value !== null && metrics.value.length === 0);

/** The kind of the current metric, '' until the link, an answer or the list tells. */
export const kind = computed(() => {
  const { m, kind: chosen } = view.value;
  if (isKind(chosen)) return chosen;
  const r = result.value;
  if (r !== null && r.metric === m) return r.kind;
  return metrics.value?.find((row) => row.metric === m)?.kind ?? '';
});

/** The function of the current view. */
export const fn = computed(() => view.value.fn || defaultFn(kind.value));

/** Chooses a function. @param {string} chosen */
export function chooseFn(chosen) {
  const { m, kind: named } = view.peek();
  const of = kind.peek();
  // Without it, the server would take the first kind of that name that has the function.
  const ambiguous = (metrics.peek() ?? []).some((row) => row.metric === m && row.conflict);
  update({ fn: chosen === defaultFn(of) ? '' : chosen, kind: named !== '' || !ambiguous ? named : of });
}

/** Chooses a metric of the list; the function stays if that kind has it. @param {Metric} row */
export function choose(row) {
  const { m, fn: wished } = view.peek();
  if (row.metric === m && row.kind === kind.peek()) return update({ kind: row.conflict ? row.kind : '' });
  const kept = hasFn(row.kind, wished) && wished !== defaultFn(row.kind) ? wished : '';
  chooseMetric(row.metric, row.conflict ? row.kind : '', kept);
}

export const visible = signal(document.visibilityState !== 'hidden');
document.addEventListener('visibilitychange', () => {
  visible.value = document.visibilityState !== 'hidden';
});

/** Seconds since a moment on the server's clock. @param {number} unix */
export const since = (unix) => Math.max(0, Date.now() / 1000 + skew - unix);
let skew = 0;

/** The delay until the query runs again, or -1 for never. */
function pause() {
  if (connection.peek().state === 'lost') return SECOND;
  const refused = refusal.peek();
  // The server's own trouble passes; a fault in the request stays until the request changes.
  if (refused !== null) return refused.status >= 500 ? SECOND : LISTS_EVERY;
  const r = result.peek();
  const fixed = !live.peek() && r !== null && r.sealed_until >= r.to;
  if (fixed) return -1;
  return r !== null && r.to - r.from > LONG_WINDOW ? LISTS_EVERY : SECOND;
}

/**
 * Runs the query until the returned function is called.
 * @param {string} text
 */
function follow(text) {
  const abort = new AbortController();
  /** @type {number | undefined} */
  let timer;
  const run = async () => {
    const began = performance.now();
    try {
      const answer = await getQuery(text, abort.signal);
      if (abort.signal.aborted) return;
      batch(() => {
        result.value = answer;
        refusal.value = null;
        pending.value = false;
      });
    } catch (error) {
      if (abort.signal.aborted) return;
      if (error instanceof ApiError) refusal.value = error;
      else if (!(error instanceof Unreachable)) throw error;
    }
    const delay = pause();
    if (delay >= 0) timer = setTimeout(run, Math.max(0, delay - (performance.now() - began)));
  };
  run();
  return () => {
    abort.abort();
    clearTimeout(timer);
  };
}

/**
 * What the server answered; null where it could not be asked, of which the header tells.
 * @template T
 * @param {Promise<T>} answer
 */
export async function tried(answer) {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof ApiError || error instanceof Unreachable)) throw error;
    return null;
  }
}

/** Reads the tags of the current metric anew. */
export async function refreshTags() {
  const { m: metric, kind: named } = view.peek();
  if (metric === '') return;
  const list = await tried(getTags(metric, named));
  if (list !== null && view.peek().m === metric && view.peek().kind === named) tags.value = { metric, tags: list };
}

/** Reads the list of metrics anew, and chooses one if the link named none. */
export async function refreshMetrics() {
  const list = await tried(getMetrics());
  if (list === null) return;
  metrics.value = list;
  if (page.peek() === 'explore' && view.peek().m === '' && list.length > 0) {
    const latest = list.reduce((a, b) => (b.last_seen > a.last_seen ? b : a));
    update({ m: latest.metric, kind: latest.conflict ? latest.kind : '' }, { replace: true });
  }
}

async function refreshStatus() {
  const s = await tried(getStatus());
  if (s === null) return;
  skew = s.now - Date.now() / 1000;
  status.value = s;
}

/**
 * Does a step again and again, until the returned function is called.
 * @param {() => Promise<number>} step answers how many ms to wait for the next one
 */
export function repeat(step) {
  /** @type {number | undefined} */
  let timer;
  let stopped = false;
  const run = async () => {
    const wait = await step();
    if (!stopped) timer = setTimeout(run, wait);
  };
  run();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

function followQuality() {
  return repeat(async () => {
    const q = await tried(getQuality());
    if (q !== null) quality.value = q;
    return watching.peek() > 0 ? SECOND : LISTS_EVERY;
  });
}

/** The server measures what it stores once a minute; a first count is soon done. */
const STORAGE_EVERY = 60_000;
const STORAGE_SOON = 2_000;

/** Reads what is stored, until the returned function is called. */
export function followStorage() {
  return repeat(async () => {
    const s = await tried(getStorage());
    if (s !== null) storage.value = s;
    return s === null || s.as_of === null ? STORAGE_SOON : STORAGE_EVERY;
  });
}

function followLists() {
  let statusRead = -Infinity;
  return repeat(async () => {
    const due = performance.now() - statusRead >= LISTS_EVERY || status.peek() === null;
    await Promise.all([refreshMetrics(), due ? refreshStatus() : null]);
    if (due) statusRead = performance.now();
    await refreshTags();
    const hurry = connection.peek().state === 'lost' || metrics.peek() === null || isEmpty.peek();
    return hurry ? SECOND : LISTS_EVERY;
  });
}

/** Starts the loops. Called once. */
export function start() {
  let asked = '';
  effect(() => {
    const text = query.value;
    if (text !== asked) {
      asked = text;
      batch(() => {
        pending.value = text !== '';
        refusal.value = null;
      });
    }
    const on = visible.value && text !== '' && !isEmpty.value;
    return on ? untracked(() => follow(text)) : undefined;
  });
  const arrived = computed(() => page.value === 'explore' && view.value.m === '');
  effect(() => {
    void arrived.value; // a metric is to be chosen: now, and not in ten seconds
    return visible.value ? untracked(followLists) : undefined;
  });
  effect(() => {
    void watching.value; // opened: now, and not in ten seconds
    return visible.value ? untracked(followQuality) : undefined;
  });
  const metric = computed(() => `${view.value.kind} ${view.value.m}`);
  effect(() => {
    void metric.value;
    untracked(refreshTags);
  });
}
