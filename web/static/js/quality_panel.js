/** Under the ledger's light: what became of every event, and what is stored. */
import { followStorage, storage } from './data.js';
import { ago, clock, duration, exact, size } from './format.js';
import { html, useEffect } from './lib.js';

/** @typedef {import('./types/answers.js').Quality} Quality */
/** @typedef {import('./types/answers.js').Storage} Storage */

/** @param {number} ms */
const millis = (ms) => `${exact(Number(ms.toPrecision(3)))} ms`;

/** @param {number} s */
const age = (s) => (s === 0 ? 'none waits' : `${exact(Number(s.toFixed(1)))} s`);

/**
 * A row; one that counts what was not counted is red once it is not 0.
 * @param {{name: string, value: number | string, loss?: boolean, part?: boolean, title?: string}} props
 */
function Row({ name, value, loss = false, part = false, title }) {
  const wrong = loss && value !== 0;
  return html`<tr class=${wrong ? 'wrong' : ''} title=${title}><th scope="row" class=${part ? 'part' : ''}>${name}</th>
    <td>${typeof value === 'number' ? exact(value) : value}</td></tr>`;
}

/** @param {Record<string, number>} counts */
const together = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);

/** @param {{name: string, counts: Record<string, number>, title: string}} props */
function Reasons({ name, counts, title }) {
  const reasons = Object.entries(counts).sort((a, b) => b[1] - a[1]);
  return html`<${Row} name=${name} value=${together(counts)} loss title=${title} />
    ${reasons.map(([reason, n]) => html`<${Row} key=${reason} name=${reason} value=${n} part loss />`)}`;
}

/** @param {{q: Quality}} props */
function Verdict({ q }) {
  const l = q.ledger;
  const ok = l.faults.length === 0;
  return html`<p class=${ok ? '' : 'wrong'} data-testid="ledger-verdict">${ok
    ? `Every event is accounted for, as of ${clock(l.checked_at)}.`
    : 'Events are missing. This is a bug in Cairn; please report it with the log.'}</p>
    ${l.faults.map((fault) => html`<p key=${fault} class="wrong">${fault}</p>`)}`;
}

/** @param {{q: Quality}} props */
function Figures({ q }) {
  const l = q.ledger;
  return html`<${Verdict} q=${q} />
    <table class="ledger">
      <tbody>
        <tr><th colspan="2" scope="colgroup">Events since ${clock(l.since)}</th></tr>
        <${Row} name="Received" value=${l.received} />
        <${Row} name="Accepted" value=${l.accepted} />
        <${Row} name="Noted" value=${l.noted} title="Events and service checks: shown, not counted" />
        <${Reasons} name="Rejected" counts=${l.rejected} title="Something was wrong with them" />
        <${Reasons} name="Shed" counts=${l.shed} title="Nothing was wrong with them; senders of batches were told to try again" />
        <${Row} name="Duplicate" value=${l.duplicate} title="Of batches that counted already" />
        <${Row} name="Datagrams dropped by the kernel" value=${l.kernel_dropped} loss />
      </tbody>
      <tbody>
        <tr><th colspan="2" scope="colgroup">Where those accepted are</th></tr>
        <${Row} name="Recovered by the start" value=${l.recovered} title="From the journal, beside those accepted" />
        <${Row} name="In memory" value=${l.open + l.flushing} />
        <${Row} name="Stored" value=${l.stored} />
        <${Row} name="Came late" value=${l.amended} title="For seconds that were sealed already" />
        <${Row} name="Lost in crashes, ever" value=${l.lost} loss />
      </tbody>
      <tbody>
        <tr><th colspan="2" scope="colgroup">Durability</th></tr>
        <${Row} name="Oldest event not in the journal" value=${q.ingestion_lag.journaled_s === null ? 'off' : age(q.ingestion_lag.journaled_s)} />
        <${Row} name="Oldest event not in the store" value=${age(q.ingestion_lag.stored_s)} />
        <${Row} name="Fsync, 99%" value=${millis(q.fsync.p99_ms)} />
        <${Row} name="Last flush" value=${millis(q.flush.last_ms)} />
        <${Row} name="Journal" value=${size(q.journal.bytes)} />
        <${Row} name="Damaged places in it" value=${q.journal.damaged.length} loss />
        ${q.disk.free !== null && html`<${Row} name=${q.disk.short ? 'Disk free: too little, nothing is written' : 'Disk free'} value=${size(q.disk.free)} loss=${q.disk.short} />`}
      </tbody>
    </table>`;
}

/** @param {number | null} n */
const each = (n) => (n === null ? '–' : exact(Number(n.toPrecision(3))));

/** @param {number | null} unix */
const since = (unix) => (unix === null ? '–' : ago(Date.now() / 1000 - unix));

/** @param {{name: string, bytes: number, title?: string}} props */
function Rest({ name, bytes, title }) {
  return html`<tr title=${title}><th scope="row" colspan="3" class="rest">${name}</th><td>${size(bytes)}</td><td></td></tr>`;
}

/** @param {{s: Storage}} props */
function Tiers({ s }) {
  return html`<table class="ledger stored">
    <caption>Storage: ${size(s.total_bytes)}</caption>
    <thead><tr><th scope="col">Tier</th><th scope="col">Kept</th><th scope="col">Since</th><th scope="col">On disk</th><th scope="col" title="Bytes of a bucket with an event">each</th></tr></thead>
    <tbody>${s.tiers.map((t) => html`<tr key=${t.tier}><th scope="row">${t.tier}</th><td>${t.kept_s === 0 ? 'no' : duration(t.kept_s)}</td>
      <td title=${t.oldest === null ? '' : clock(t.oldest)}>${since(t.oldest)}</td><td>${size(t.bytes)}</td><td>${each(t.bytes_per_sample)}</td></tr>`)}</tbody>
    <tbody>
      <${Rest} name="Metrics and series" bytes=${s.index_bytes} />
      <${Rest} name="Written lately" bytes=${s.log_bytes} title="Of all of these; it goes to tables later" />
      <${Rest} name="Accounts and files" bytes=${s.other_bytes + s.file_bytes} />
      <${Rest} name="Journal" bytes=${s.journal_bytes} />
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
function StorageSection() {
  useEffect(followStorage, []);
  const s = storage.value;
  if (s === null) return null;
  return html`<section data-testid="storage" aria-label="Storage"><${Tiers} s=${s} /><${Metrics} s=${s} /></section>`;
}

/** All of it. @param {{q: Quality}} props */
export const QualityPanel = ({ q }) => html`<${Figures} q=${q} /><${StorageSection} />`;
