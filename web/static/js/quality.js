/** The ledger's light in the header, and under it what became of every event. */
import { quality, watching } from './data.js';
import { clock, exact, size } from './format.js';
import { html, useEffect, useState } from './lib.js';
import { Popover } from './popover.js';
import { StorageSection } from './storage.js';

/** @typedef {import('./types.js').Quality} Quality */

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

/** What the light says, in a word. @param {Quality} q */
function word(q) {
  if (q.ledger.faults.length > 0) return 'Imbalance';
  if (q.disk.short) return 'Disk full';
  return q.replay.running ? 'Replaying' : 'Balanced';
}

export function LedgerLight() {
  const [open, setOpen] = useState(false);
  useEffect(() => {
    watching.value = open;
    return () => {
      watching.value = false;
    };
  }, [open]);
  const q = quality.value;
  if (q === null) return null;
  const text = word(q);
  const state = text === 'Balanced' ? 'ok' : text === 'Replaying' ? 'slow' : 'lost';
  const label = html`<span class="light" data-testid="ledger-light" data-state=${state}><i class=${`dot ${state}`}></i>${text}</span>`;
  return html`<${Popover} open=${open} onToggle=${setOpen} label=${label} title="Ledger" testid="ledger">
    <div class="quality" data-testid="quality"><${Figures} q=${q} /><${StorageSection} /></div>
  <//>`;
}
