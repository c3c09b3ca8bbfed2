/** What the store takes on disk: by resolution and by metric, under the ledger. */
import { getStorage, ApiError, Unreachable } from './api.js';
import { ago, clock, exact, size } from './format.js';
import { html, useEffect, useState } from './lib.js';

/** @typedef {import('./types.js').Storage} Storage */

/** The server measures once a minute; a first count is soon done. */
const EVERY = 60_000;
const SOON = 2_000;

/** @param {number} seconds */
const kept = (seconds) => (seconds === 0 ? 'not kept' : seconds % 86_400 === 0 ? `${exact(seconds / 86_400)} d` : `${exact(Number((seconds / 3600).toPrecision(3)))} h`);

/** @param {number | null} n */
const each = (n) => (n === null ? '–' : exact(Number(n.toPrecision(3))));

/** @param {number | null} unix */
const since = (unix) => (unix === null ? '–' : ago(Date.now() / 1000 - unix));

/** @param {{s: Storage}} props */
function Tiers({ s }) {
  return html`<table class="ledger stored">
    <caption>Storage: ${size(s.total_bytes)}</caption>
    <thead><tr><th scope="col">Tier</th><th scope="col">Kept</th><th scope="col">Since</th><th scope="col">On disk</th><th scope="col" title="Bytes of a bucket with an event">each</th></tr></thead>
    <tbody>${s.tiers.map((t) => html`<tr key=${t.tier}><th scope="row">${t.tier}</th><td>${kept(t.kept_s)}</td>
      <td title=${t.oldest === null ? '' : clock(t.oldest)}>${since(t.oldest)}</td><td>${size(t.bytes)}</td><td>${each(t.bytes_per_sample)}</td></tr>`)}</tbody>
    <tbody>
      <tr><th scope="row" colspan="3" class="rest">Metrics and series</th><td>${size(s.index_bytes)}</td><td></td></tr>
      <tr><th scope="row" colspan="3" class="rest" title="Of all of these; it goes to tables later">Written lately</th><td>${size(s.log_bytes)}</td><td></td></tr>
      <tr><th scope="row" colspan="3" class="rest">Accounts and files</th><td>${size(s.other_bytes + s.file_bytes)}</td><td></td></tr>
      <tr><th scope="row" colspan="3" class="rest">Journal</th><td>${size(s.journal_bytes)}</td><td></td></tr>
    </tbody>
  </table>`;
}

/** @param {{s: Storage}} props */
function Metrics({ s }) {
  if (s.as_of === null) return html`<p class="muted">Metrics are being counted.</p>`;
  if (s.metrics.length === 0) return null;
  const more = s.metrics_total - s.metrics.length;
  return html`<table class="ledger stored" data-testid="storage-metrics">
    <caption>Largest metrics, as of ${clock(s.as_of)}</caption>
    <thead><tr><th scope="col">Metric</th><th scope="col">Series</th><th scope="col">In tables</th></tr></thead>
    <tbody>${s.metrics.map((m) => html`<tr key=${`${m.kind} ${m.metric}`}><th scope="row" class="long" title=${`${m.metric} (${m.kind})`}>${m.metric}</th>
      <td>${exact(m.series)}</td><td>${size(m.bytes)}</td></tr>`)}</tbody>
  </table>
  ${more > 0 && html`<p class="muted">${`and ${exact(more)} more`}</p>`}
  ${s.damaged.map((text) => html`<p key=${text} class="wrong">${text}</p>`)}`;
}

/** Asks the server while it is shown. */
export function StorageSection() {
  const [s, set] = useState(/** @type {Storage | null} */ (null));
  useEffect(() => {
    /** @type {number | undefined} */
    let timer;
    let stopped = false;
    const run = async () => {
      let next = EVERY;
      try {
        const got = await getStorage();
        if (stopped) return;
        set(got);
        if (got.as_of === null) next = SOON;
      } catch (error) {
        if (!(error instanceof ApiError || error instanceof Unreachable)) throw error;
        next = SOON;
      }
      if (!stopped) timer = setTimeout(run, next);
    };
    run();
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  }, []);
  if (s === null) return null;
  return html`<section data-testid="storage" aria-label="Storage"><${Tiers} s=${s} /><${Metrics} s=${s} /></section>`;
}
