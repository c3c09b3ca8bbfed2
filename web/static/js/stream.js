/** Follows a query: a stream of what changes, and where there is none, asking again. */
import { ApiError, Unreachable, getQuery } from './api.js';

/** @typedef {import('./types/answers.js').Result} Result */
/** @typedef {import('./types/answers.js').Delta} Delta */

const SECOND = 1000;
/** A stream of a window that moves says something each second; one that is silent is taken for dead. */
const SILENT = 15 * SECOND;
/** The status of a query that reached a limit. */
const TOO_MUCH = 422;
/** A server without room for a stream is asked for one again after it. */
const REFUSED = 30 * SECOND;

/**
 * The next answer (docs/streams.md).
 * @param {Result} answer
 * @param {Delta} delta
 * @returns {Result}
 */
export function apply(answer, delta) {
  const times = answer.times.slice(delta.dropped).concat(delta.times);
  const places = delta.order ?? answer.series.map((_, i) => i);
  const series = places.map((p) => {
    if (p < 0) return /** @type {any} */ (null); // it is among the changes
    const values = answer.series[p].values.slice(delta.dropped);
    while (values.length < times.length) values.push(null);
    return { ...answer.series[p], values };
  });
  for (const { at, since = 0, values, ...rest } of delta.series) {
    if (rest.tags) series[at] = { ...rest, values };
    else series[at] = { ...series[at], ...rest, values: values ? series[at].values.slice(0, since).concat(values) : series[at].values };
  }
  const { dropped: _dropped, order: _order, ...fields } = delta;
  return { ...fields, times, series };
}

/**
 * Hands on each new answer, until the returned function is called.
 * @param {string[]} texts  query strings, each of which costs less than the one before it, for where that is refused
 * @param {boolean} streams  whether to ask for a stream: a browser has six connections to a host, for all its tabs
 * @param {(answer: Result) => void} take
 * @param {(sentence: string) => void} refuse  is told why there is no answer, and '' once there is one
 */
export function followQuery(texts, streams, take, refuse) {
  const abort = new AbortController();
  /** @type {number | undefined} */
  let timer;
  /** @type {EventSource | null} */
  let source = null;
  let notBefore = 0;
  let at = 0;

  const close = () => {
    source?.close();
    source = null;
    clearTimeout(timer);
  };
  const poll = async () => {
    const began = performance.now();
    try {
      const answer = await getQuery(texts[at], abort.signal);
      if (abort.signal.aborted) return;
      take(answer);
      refuse('');
      if (streams && performance.now() >= notBefore) return open();
    } catch (error) {
      if (abort.signal.aborted) return;
      if (error instanceof ApiError) {
        if (error.status === TOO_MUCH && at + 1 < texts.length) at++;
        refuse(error.message);
      } else if (!(error instanceof Unreachable)) throw error;
    }
    // A slow answer is asked for more rarely.
    const took = performance.now() - began;
    timer = setTimeout(poll, Math.max(SECOND - took, 3 * took));
  };
  const open = () => {
    const own = (source = new EventSource(`api/stream?${texts[at]}`));
    /** @type {Result | null} */
    let answer = null;
    const lost = () => {
      if (source !== own) return;
      if (answer === null) notBefore = performance.now() + REFUSED;
      close();
      poll();
    };
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(lost, SILENT);
    };
    heard();
    own.addEventListener('full', (event) => {
      heard();
      take((answer = JSON.parse(event.data)));
    });
    own.addEventListener('delta', (event) => {
      heard();
      if (answer !== null) take((answer = apply(answer, JSON.parse(event.data))));
    });
    // With data it is the query that failed; without, the connection. Asking tells why.
    own.addEventListener('error', lost);
  };
  poll();
  return () => {
    abort.abort();
    close();
  };
}
