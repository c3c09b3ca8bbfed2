/** The controls of a view: groups, function, chart type, resolution and range. */
import { inputTime } from './format.js';
import { html, signal, useState } from './lib.js';
import { chooseFn, fn, kind, result, tags } from './data.js';
import { defaultFn, functionsOf, isAdditive, isPercentile, share, typeFor } from './kinds.js';
import { Popover } from './popover.js';
import { chooseRange, chooseWindow, update, view } from './state.js';

const RANGES = ['5m', '15m', '1h', '6h', '24h', '7d', '30d'];
const STEPS = ['auto', '1s', '10s', '1m', '1h'];
/** As many buttons fit into the row on a common screen. */
const FEW = 3;
const TYPES = [{ id: 'bars', text: 'Bars' }, { id: 'stacked', text: 'Stacked' }, { id: 'lines', text: 'Lines' }];

const rangeOpen = signal(false);

/**
 * One choice out of few.
 * @param {{label: string, options: {id: string, text: string, title?: string}[], value: string, testid: string, onChoose: (value: string) => void}} props
 */
function Segments({ label, options, value, testid, onChoose }) {
  return html`<div class=${`control control-${testid}`} role="group" aria-label=${label}>
    <span class="label">${label}</span>
    <div class="segments">${options.map(({ id, text, title }) => html`<button type="button" class="button" key=${id} data-testid=${`${testid}-${id}`}
      title=${title} aria-pressed=${String(id === value)} onClick=${() => onChoose(id)}>${text}</button>`)}</div>
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

/** The value that shares begin with: the one on the page, if it is a value of observations. */
function firstThreshold() {
  const r = result.peek();
  const level = r !== null && r.total !== null && (isPercentile(r.fn) || ['avg', 'min', 'max'].includes(r.fn));
  return level ? String(Number(Number(r.total).toPrecision(2))) : '0';
}

/** Gauges and distributions have too many functions for a button each. */
function FunctionList() {
  const now = fn.value;
  const part = share(now);
  const value = part === null ? now : part.side;
  const known = functionsOf(kind.value);
  const options = known.some((f) => f.id === value) ? known : [...known, { id: value, text: value, title: '' }];
  /** @param {any} e */
  const onChange = (e) => {
    const { value: id } = e.currentTarget;
    chooseFn(id === 'above' || id === 'below' ? `${id}:${part?.x ?? firstThreshold()}` : id);
  };
  /** @param {any} e */
  const onThreshold = (e) => {
    const { value: x } = e.currentTarget;
    if (part !== null && x !== '') chooseFn(`${part.side}:${x}`);
  };
  return html`<div class="control control-fn" role="group" aria-label="Function">
    <span class="label">Function</span>
    <select class="field" data-testid="fn" aria-label="Function" value=${value} title=${options.find((f) => f.id === value)?.title} onChange=${onChange}>
      ${options.map((f) => html`<option key=${f.id} value=${f.id} selected=${f.id === value}>${f.text}</option>`)}
    </select>
    ${part !== null && html`<input type="number" step="any" class="field threshold" data-testid="fn-threshold" aria-label=${`The value that the share is ${part.side}`}
      value=${part.x} onChange=${onThreshold} />`}
  </div>`;
}

/** The function, of those that the metric's kind has. */
export function FunctionChoice() {
  const of = kind.value;
  const options = functionsOf(of);
  if (options.length > FEW) return html`<${FunctionList} />`;
  // One that can be nothing else is no choice.
  if (options.length < 2 && fn.value === defaultFn(of)) {
    return html`<div class="control control-fn"><span class="label">Function</span><span title=${options[0]?.title}>${options[0]?.text ?? '–'}</span></div>`;
  }
  return html`<${Segments} label="Function" options=${options} value=${fn.value} testid="fn" onChoose=${chooseFn} />`;
}

/** Bars, stacked or lines. */
export function TypeChoice() {
  const options = TYPES.filter(({ id }) => id !== 'stacked' || isAdditive(fn.value));
  return html`<${Segments} label="Chart" options=${options} value=${typeFor(view.value.type, fn.value)} testid="type" onChoose=${(/** @type {string} */ type) => update({ type })} />`;
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
