/** The metric picker: a combobox with fuzzy search. */
import { ago } from './format.js';
import { search } from './fuzzy.js';
import { html, useEffect, useRef, useState } from './lib.js';
import { isEmpty, metrics, refreshMetrics, since } from './data.js';
import { chooseMetric, view } from './state.js';

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
 * @param {{found: {item: import('./types.js').Metric, at: number[]}[], active: number, choose: (m: string) => void, needle: string}} props
 */
function Options({ found, active, choose, needle }) {
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: 'nearest' });
  }, [active, needle]);
  return html`<div class="panel options" id="metric-list" role="listbox" aria-label="Metrics" ref=${list}>
    ${found.length === 0 && html`<div class="note">${needle === '' ? 'No metrics yet' : `No metric matches “${needle}”`}</div>`}
    ${found.slice(0, SHOWN).map(({ item, at }, i) => html`<div class="option" role="option" id=${`metric-option-${i}`}
      key=${item.metric} data-testid="metric-option" aria-selected=${String(i === active)} title=${item.metric}
      onPointerDown=${(/** @type {Event} */ e) => e.preventDefault()} onClick=${() => choose(item.metric)}>
      <span class="cut">${marked(item.metric, at)}</span>
      <span class="muted option-facts">${item.kind} · ${item.series} series · ${ago(since(item.last_seen))}</span></div>`)}
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
    setActive(Math.max(0, (metrics.peek() ?? []).findIndex((m) => m.metric === current)));
    setOpen(true);
    refreshMetrics();
  };
  const hide = () => setOpen(false);
  /** @param {string} metric */
  const choose = (metric) => {
    hide();
    chooseMetric(metric);
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
      else if (found[active]) choose(found[active].item.metric);
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
    <span class="chevron" aria-hidden="true">▾</span>
    ${open && html`<${Options} found=${found} active=${active} choose=${choose} needle=${needle} />`}
  </div>`;
}
