/** The controls of a view: groups, function, chart type, resolution and range. */
import { inputTime } from './format.js';
import { html, signal, useState } from './lib.js';
import { result, tags } from './data.js';
import { Popover } from './popover.js';
import { chooseRange, chooseWindow, update, view } from './state.js';

const RANGES = ['5m', '15m', '1h', '6h', '24h', '7d', '30d'];
const STEPS = ['auto', '1s', '10s', '1m', '1h'];
const FUNCTIONS = [['count', 'Count'], ['rate', 'Rate per s']];
const KINDS = [['bars', 'Bars'], ['stacked', 'Stacked'], ['lines', 'Lines']];

const rangeOpen = signal(false);

/**
 * One choice out of few.
 * @param {{label: string, options: string[][], value: string, testid: string, onChoose: (value: string) => void}} props
 */
function Segments({ label, options, value, testid, onChoose }) {
  return html`<div class=${`control control-${testid}`} role="group" aria-label=${label}>
    <span class="label">${label}</span>
    <div class="segments">${options.map(([id, text]) => html`<button type="button" class="button" key=${id} data-testid=${`${testid}-${id}`}
      aria-pressed=${String(id === value)} onClick=${() => onChoose(id)}>${text}</button>`)}</div>
  </div>`;
}

/** A toggle for each tag key. */
export function GroupBy() {
  const { by, m } = view.value;
  const known = tags.value.metric === m ? tags.value.tags.map((t) => t.key) : [];
  const keys = [...known, ...by.filter((key) => !known.includes(key))];
  /** @param {string} key */
  const toggle = (key) => update({ by: by.includes(key) ? by.filter((k) => k !== key) : [...by, key] });
  return html`<div class="control" role="group" aria-label="Group by">
    <span class="label">Group by</span>
    ${keys.length === 0 && html`<span class="muted">no tags</span>`}
    ${keys.map((key) => html`<button type="button" class="button cut" key=${key} data-testid=${`by-${key}`} title=${key}
      aria-pressed=${String(by.includes(key))} onClick=${() => toggle(key)}>${key}</button>`)}
  </div>`;
}

/** Count or rate. */
export function FunctionChoice() {
  return html`<${Segments} label="Function" options=${FUNCTIONS} value=${view.value.fn} testid="fn" onChoose=${(/** @type {string} */ fn) => update({ fn })} />`;
}

/** Bars, stacked or lines. */
export function TypeChoice() {
  return html`<${Segments} label="Chart" options=${KINDS} value=${view.value.type} testid="type" onChoose=${(/** @type {string} */ type) => update({ type })} />`;
}

/** The wished step; the badge beside the total tells which one it became. */
export function StepChoice() {
  const { step } = view.value;
  const steps = STEPS.includes(step) ? STEPS : [...STEPS, step];
  return html`<label class="control"><span class="label">Resolution</span>
    <select class="field" data-testid="step" value=${step} onChange=${(/** @type {any} */ e) => update({ step: e.currentTarget.value })}>
      ${steps.map((s) => html`<option key=${s} value=${s} selected=${s === step}>${s}</option>`)}
    </select></label>`;
}

/** Absolute bounds, in local time. */
function Absolute() {
  const r = result.peek();
  const now = Math.floor(Date.now() / 1000);
  const [from, setFrom] = useState(inputTime(r?.from ?? now - 3600));
  const [to, setTo] = useState(inputTime(r?.to ?? now));
  const bounds = [from, to].map((text) => Math.floor(new Date(text).getTime() / 1000));
  const problem = bounds.some(Number.isNaN) ? 'Both times are needed.' : bounds[1] <= bounds[0] ? '“To” must be after “from”.' : '';
  /** @param {Event} event */
  const apply = (event) => {
    event.preventDefault();
    if (problem !== '') return;
    rangeOpen.value = false;
    chooseWindow(bounds[0], bounds[1]);
  };
  return html`<form class="absolute" onSubmit=${apply}>
    <label><span class="label">From</span><input type="datetime-local" step="1" class="field" data-autofocus data-testid="from" value=${from}
      onInput=${(/** @type {any} */ e) => setFrom(e.currentTarget.value)} /></label>
    <label><span class="label">To, not included</span><input type="datetime-local" step="1" class="field" data-testid="to" value=${to}
      onInput=${(/** @type {any} */ e) => setTo(e.currentTarget.value)} /></label>
    <div class="absolute-foot"><span class="wrong" role="status">${problem}</span>
      <button type="submit" class="button" data-testid="range-apply" disabled=${problem !== ''}>Show</button></div>
  </form>`;
}

/** Relative ranges, and absolute bounds in a panel. */
export function RangeChoice() {
  const { range, back } = view.value;
  const ranges = range === '' || RANGES.includes(range) ? RANGES : [...RANGES, range];
  return html`<div class="control control-range" role="group" aria-label="Range">
    <span class="label">Range</span>
    <div class="segments">
      ${ranges.map((r) => html`<button type="button" class="button" key=${r} data-testid=${`range-${r}`} aria-pressed=${String(r === range)}
        onClick=${() => chooseRange(r)}>${r}</button>`)}
      <${Popover} open=${rangeOpen.value} title="Absolute range" label="From – to" testid="range-absolute" pressed=${range === ''}
        onToggle=${(/** @type {boolean} */ open) => (rangeOpen.value = open)}><${Absolute} /><//>
    </div>
    ${range === '' && html`<button type="button" class="plain" data-testid="range-reset" onClick=${() => chooseRange(back)}>Back to ${back}</button>`}
  </div>`;
}
