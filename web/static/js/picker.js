/** The metric picker: a combobox with fuzzy search. */
import { ago } from './format.js';
import { search } from './fuzzy.js';
import { html, useEffect, useRef, useState } from './lib.js';
import { choose as chooseRow, isEmpty, kind, metrics, refreshMetrics, since } from './data.js';
import { view } from './state.js';

/** @typedef {import('./types/answers.js').Metric} Metric */

/** Enough to scroll through; more are found by typing. */
const SHOWN = 100;

/**
 * The name with the letters that matched underlined.
 * @param {string} name
 * @param {number[]} at
 */
function marked(name, at) {
  if (at.length === 0) return name;
  const hit = new Set(at);
  /** @type {any[]} */
  const parts = [];
  let i = 0;
  while (i < name.length) {
    const inside = hit.has(i);
    const start = i;
    while (i < name.length && hit.has(i) === inside) i++;
    const text = name.slice(start, i);
    parts.push(inside ? html`<mark>${text}</mark>` : text);
  }
  return parts;
}

/**
 * What one should know before one trusts the metric.
 * @param {{item: Metric}} props
 */
export function Marks({ item }) {
  return html`${item.conflict && html`<span class="badge" data-testid="mark-conflict"
      title="This name is sent as more than one kind. Each kind is a metric of its own; probably one of the senders is mistaken.">name in conflict</span>`}
    ${item.overflow && html`<span class="badge" data-testid="mark-overflow"
      title="A cardinality limit was reached: new tagsets are folded into one series. Totals are exact, but the folded tags are gone.">tags folded</span>`}`;
}

/**
 * @param {{found: {item: Metric, at: number[]}[], active: number, choose: (row: Metric) => void, needle: string}} props
 */
function Options({ found, active, choose, needle }) {
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: 'nearest' });
  }, [active, needle]);
  return html`<div class="panel options" id="metric-list" role="listbox" aria-label="Metrics" ref=${list}>
    ${found.length === 0 && html`<div class="note">${needle === '' ? 'No metrics yet' : `No metric matches “${needle}”`}</div>`}
    ${found.slice(0, SHOWN).map(({ item, at }, i) => html`<div class="option" role="option" id=${`metric-option-${i}`}
      key=${`${item.kind} ${item.metric}`} data-testid="metric-option" data-kind=${item.kind} aria-selected=${String(i === active)} title=${item.metric}
      onPointerDown=${(/** @type {Event} */ e) => e.preventDefault()} onClick=${() => choose(item)}>
      <span class="cut">${marked(item.metric, at)}</span>
      <span class="muted option-facts"><${Marks} item=${item} />${item.kind} · ${item.series} series · ${ago(since(item.last_seen))}</span></div>`)}
    ${found.length > SHOWN && html`<div class="note">${found.length - SHOWN} more; type to narrow</div>`}
  </div>`;
}

/** Picks the metric. */
export function MetricPicker() {
  const [open, setOpen] = useState(false);
  const [needle, setNeedle] = useState('');
  const [active, setActive] = useState(0);
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const current = view.value.m;
  const found = open ? search(needle, metrics.value ?? [], (m) => m.metric) : [];
  const last = Math.min(found.length, SHOWN) - 1;

  const show = () => {
    if (open) return;
    setNeedle('');
    setActive(Math.max(0, (metrics.peek() ?? []).findIndex((m) => m.metric === current && m.kind === kind.peek())));
    setOpen(true);
    refreshMetrics();
  };
  const hide = () => setOpen(false);
  /** @param {Metric} row */
  const choose = (row) => {
    hide();
    chooseRow(row);
    input.current?.blur();
  };
  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (by !== undefined) {
      if (!open) show();
      else setActive(Math.max(0, Math.min(last, active + by)));
    } else if (event.key === 'Enter') {
      if (!open) show();
      else if (found[active]) choose(found[active].item);
    } else if (event.key === 'Escape' && open) hide();
    else return;
    event.preventDefault();
  };
  return html`<div class="picker">
    <input ref=${input} type="text" class="field" data-testid="metric-input" role="combobox" aria-label="Metric" spellcheck=${false}
      autocomplete="off" autocapitalize="off" placeholder=${open && current ? current : isEmpty.value ? 'No metrics yet' : 'Choose a metric'} aria-autocomplete="list"
      aria-expanded=${String(open)} aria-controls="metric-list" aria-activedescendant=${open && last >= 0 ? `metric-option-${active}` : null}
      value=${open ? needle : current} title=${open ? '' : current} onFocus=${show} onClick=${show} onBlur=${hide} onKeyDown=${onKeyDown}
      onInput=${(/** @type {any} */ e) => {
        setNeedle(e.currentTarget.value);
        setActive(0);
        setOpen(true);
      }} />
    ${!open && html`<span class="picker-kind muted" data-testid="metric-kind">${kind.value}</span>`}
    <span class="chevron" aria-hidden="true">▾</span>
    ${open && html`<${Options} found=${found} active=${active} choose=${choose} needle=${needle} />`}
  </div>`;
}
