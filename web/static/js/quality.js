/** The ledger's light in the header. */
import { quality, watching } from './data.js';
import { lazy } from './lazy.js';
import { html, useEffect, useState } from './lib.js';
import { Popover } from './popover.js';

/** @typedef {import('./types/answers.js').Quality} Quality */

const panel = lazy(async () => (await import('./quality_panel.js')).QualityPanel);

/** What the light says, in a word. @param {Quality} q */
function word(q) {
  if (q.ledger.faults.length > 0) return 'Imbalance';
  if (q.disk.short) return 'Disk full';
  return q.replay.running ? 'Replaying' : 'Balanced';
}

export function LedgerLight() {
  const [open, setOpen] = useState(false);
  useEffect(() => {
    if (!open) return undefined;
    watching.value = watching.peek() + 1;
    return () => {
      watching.value = watching.peek() - 1;
    };
  }, [open]);
  useEffect(() => (open ? panel.ensure() : undefined), [open]);
  const q = quality.value;
  if (q === null) return null;
  const text = word(q);
  const state = text === 'Balanced' ? 'ok' : text === 'Replaying' ? 'slow' : 'lost';
  const label = html`<span class="light" data-testid="ledger-light" data-state=${state}><i class=${`dot ${state}`}></i>${text}</span>`;
  return html`<${Popover} open=${open} onToggle=${setOpen} label=${label} title="Ledger" testid="ledger">
    <div class="quality" data-testid="quality">${panel.component.value !== null && html`<${panel.component.value} q=${q} />`}</div>
  <//>`;
}
