/** Requests to the server, and what they tell about the connection. */
import { signal } from './lib.js';

/** @typedef {import('./types/answers.js').Status} Status */
/** @typedef {import('./types/answers.js').Metric} Metric */
/** @typedef {import('./types/answers.js').Tag} Tag */
/** @typedef {import('./types/answers.js').Quality} Quality */
/** @typedef {import('./types/answers.js').Result} Result */

/** A refusal by the server, in its own sentence. */
export class ApiError extends Error {
  /**
   * @param {string} sentence
   * @param {number} status
   * @param {string} param  the request parameter at fault, or ''
   */
  constructor(sentence, status, param) {
    super(sentence);
    this.status = status;
    this.param = param;
  }
}

/** No answer arrived at all. */
export class Unreachable extends Error {}

/**
 * `slow`: a request has waited for SLOW ms. `lost`: a request failed without an answer. `since` is when
 * that began, `heard` when the last answer came (both in ms).
 * @type {import('../vendor/signals-core.js').Signal<{state: 'ok' | 'slow' | 'lost', since: number, heard: number}>}
 */
export const connection = signal({ state: 'ok', since: 0, heard: 0 });

/** Long enough that a heavy query does not alarm anyone, short enough that a frozen server is noticed. */
const SLOW = 4000;
/** Longer than any query the server allows itself. */
const TIMEOUT = 40000;

function heard() {
  connection.value = { state: 'ok', since: 0, heard: Date.now() };
}

/**
 * @param {'slow' | 'lost'} state
 * @param {number} since
 */
function missing(state, since) {
  const old = connection.peek();
  if (old.state === 'lost') return;
  connection.value = { state, since: old.state === 'slow' ? old.since : since, heard: old.heard };
}

/**
 * @param {string} path
 * @param {AbortSignal} [abort]
 * @returns {Promise<any>}
 */
async function get(path, abort) {
  const began = Date.now();
  const own = new AbortController();
  const onAbort = () => own.abort();
  abort?.addEventListener('abort', onAbort);
  const slow = setTimeout(() => missing('slow', began), SLOW);
  const timeout = setTimeout(onAbort, TIMEOUT);
  try {
    const response = await fetch(path, { signal: own.signal, cache: 'no-store', headers: { Accept: 'application/json' } });
    const text = await response.text();
    heard();
    return read(response, text);
  } catch (error) {
    if (error instanceof ApiError || abort?.aborted) throw error;
    missing('lost', Date.now());
    throw new Unreachable('Cannot reach Cairn.');
  } finally {
    clearTimeout(slow);
    clearTimeout(timeout);
    abort?.removeEventListener('abort', onAbort);
  }
}

/**
 * @param {Response} response
 * @param {string} text
 */
function read(response, text) {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    throw new ApiError(`Cairn answered ${response.status} with something that is not JSON.`, response.status, '');
  }
  if (!response.ok) {
    throw new ApiError(body.error || `Cairn answered ${response.status} without a reason.`, response.status, body.param || '');
  }
  return body;
}

/** @returns {Promise<Status>} */
export const getStatus = () => get('api/status');

/** @returns {Promise<Quality>} */
export const getQuality = () => get('api/quality?limit=1');

/** @returns {Promise<import('./types/answers.js').Storage>} */
export const getStorage = () => get('api/storage?metrics=10');

/** The series with the most events lately. @returns {Promise<import('./types/answers.js').Hot>} */
export const getHot = () => get('api/hot?limit=1000');

/** @returns {Promise<Metric[]>} */
export const getMetrics = async () => (await get('api/metrics')).metrics ?? [];

/**
 * @param {string} metric
 * @param {string} kind  '' for all kinds of the name
 * @returns {Promise<Tag[]>}
 */
export async function getTags(metric, kind) {
  const only = kind === '' ? '' : `&kind=${encodeURIComponent(kind)}`;
  return (await get(`api/tags?metric=${encodeURIComponent(metric)}${only}`)).tags ?? [];
}

/**
 * @param {string} query  query string
 * @param {AbortSignal} abort
 * @returns {Promise<Result>}
 */
export const getQuery = (query, abort) => get(`api/query?${query}`, abort);
