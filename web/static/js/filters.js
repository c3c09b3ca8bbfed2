/** Filters: a chip for each, and the panel that adds and changes them. */
import { escape, isPattern, parseFilter, showValue, toggleValue, valuesOf } from './filter.js';
import { search } from './fuzzy.js';
import { html, signal, useState } from './lib.js';
import { refreshTags, tags } from './data.js';
import { Popover } from './popover.js';
import { update, view } from './state.js';

/** More than this is found by typing. */
const SHOWN = 200;

/** What the panel shows, shared because a chip opens it too. */
const panel = signal({ open: false, key: '', not: false });

/**
 * @param {string} key
 * @param {boolean} not
 */
function openPanel(key, not) {
  panel.value = { open: true, key, not };
  refreshTags();
}

/**
 * A filter in words.
 * @param {string} text
 */
function words(text) {
  const f = parseFilter(text);
  if (f === null) return text;
  const values = f.values.map(showValue).join(', ');
  return html`${f.key} <span class="muted">${f.not ? 'is not' : 'is'}</span> ${values}`;
}

/** @param {{text: string, index: number}} props */
function Chip({ text, index }) {
  const f = parseFilter(text);
  const remove = () => update({ f: view.peek().f.filter((_, i) => i !== index) });
  return html`<span class="chip" data-testid="filter-chip" title=${text}>
    <button type="button" class="chip-text cut" onClick=${() => f && openPanel(f.key, f.not)}>${words(text)}</button>
    <button type="button" class="chip-remove" aria-label=${`Remove filter ${text}`} onClick=${remove}>×</button>
  </span>`;
}

/** @param {{value: string, chosen: boolean, other: boolean, not: boolean, series: number | null, onClick: () => void}} props */
function Value({ value, chosen, other, not, series, onClick }) {
  return html`<button type="button" class="value" data-testid="filter-value" data-value=${value} aria-pressed=${String(chosen)} onClick=${onClick}>
    <span class="check" aria-hidden="true">${chosen ? '✓' : ''}</span>
    <span class="cut">${isPattern(value) && value !== '*' ? html`<span class="muted">pattern</span> ${value}` : showValue(value)}</span>
    <span class="muted">${other ? (not ? 'included' : 'excluded') : series}</span></button>`;
}

/** @param {{tag: import('./types/answers.js').Tag, not: boolean}} props */
function Values({ tag, not }) {
  const [needle, setNeedle] = useState('');
  const { f } = view.value;
  const chosen = valuesOf(f, tag.key, not);
  const other = valuesOf(f, tag.key, !not);
  const found = search(needle.includes('*') ? '' : needle, tag.values, (v) => v.value);
  const counts = new Map(tag.values.map((v) => [escape(v.value), v.series]));
  const listed = found.slice(0, SHOWN).map(({ item }) => escape(item.value));
  // What the link asks for stays visible and removable, even if no series has that value now.
  const extra = chosen.filter((v) => !counts.has(v) && v !== '*');
  const typed = needle.includes('*') && !chosen.includes(needle) ? [needle] : [];
  /** @param {string} value */
  const toggle = (value) => update({ f: toggleValue(view.peek().f, tag.key, not, value) });
  const rows = needle === '' ? ['*', ...extra, ...listed] : [...typed, ...listed];
  return html`
    <input type="text" class="field" data-autofocus aria-label=${`Search values of ${tag.key}`} placeholder="Search, or a pattern: web-*"
      spellcheck=${false} autocomplete="off" autocapitalize="off" value=${needle} onInput=${(/** @type {any} */ e) => setNeedle(e.currentTarget.value)}
      onKeyDown=${(/** @type {KeyboardEvent} */ e) => {
        if (e.key === 'Enter' && needle !== '' && rows.length > 0) toggle(rows[0]);
      }} />
    <div class="values">
      ${rows.map((v) => html`<${Value} key=${v} value=${v} chosen=${chosen.includes(v)} other=${other.includes(v)} not=${not}
        series=${counts.get(v) ?? null} onClick=${() => toggle(v)} />`)}
      ${rows.length === 0 && html`<div class="note">No value matches</div>`}
      ${found.length > SHOWN && html`<div class="note">${found.length - SHOWN} more; type to narrow</div>`}
    </div>`;
}

function Panel() {
  const known = tags.value.metric === view.value.m ? tags.value.tags : [];
  const { key, not } = panel.value;
  // A key that only a filter mentions can be edited like any other.
  const all = key !== '' && !known.some((t) => t.key === key) ? [...known, { key, values: [] }] : known;
  const tag = all.find((t) => t.key === key) ?? all[0];
  if (!tag) return html`<div class="note">The series of this metric have no tags.</div>`;
  /** @param {boolean} to */
  const side = (to) => () => {
    panel.value = { ...panel.value, key: tag.key, not: to };
  };
  return html`<div class="filter-panel">
    <div class="keys" role="group" aria-label="Tag keys">
      ${all.map((t) => html`<button type="button" class="value" key=${t.key} data-testid="filter-key" data-key=${t.key}
        aria-pressed=${String(t === tag)} title=${t.key} onClick=${() => openPanel(t.key, not)}><span class="cut">${t.key}</span></button>`)}
    </div>
    <div class="key-values">
      <div class="segments" role="group" aria-label="Side">
        <button type="button" class="button" data-testid="filter-include" aria-pressed=${String(!not)} onClick=${side(false)}>Include</button>
        <button type="button" class="button" data-testid="filter-exclude" aria-pressed=${String(not)} onClick=${side(true)}>Exclude</button>
      </div>
      <${Values} key=${tag.key} tag=${tag} not=${not} />
    </div>
  </div>`;
}

/** The row of filters. */
export function Filters() {
  const { f } = view.value;
  return html`<div class="control filters" role="group" aria-label="Filters">
    <span class="label">Filter</span>
    ${f.map((text, index) => html`<${Chip} key=${text} text=${text} index=${index} />`)}
    <${Popover} open=${panel.value.open} title="Add a filter" testid="filter-add" label="+ Filter"
      onToggle=${(/** @type {boolean} */ open) => (open ? openPanel('', false) : (panel.value = { ...panel.value, open: false }))}><${Panel} /><//>
    ${f.length > 1 && html`<button type="button" class="plain" onClick=${() => update({ f: [] })}>Clear</button>`}
  </div>`;
}
