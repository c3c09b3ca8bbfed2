/** What one bucket holds. */
import { clock, day } from './format.js';
import { html, useLayoutEffect, useRef } from './lib.js';
import { result } from './data.js';
import { isOpen } from './draw.js';
import { isAdditive, pointText, totalText } from './kinds.js';
import { labelText, plot } from './model.js';
import { view } from './state.js';

/** More rows than this hide the chart they explain. */
const ROWS = 12;
const ROWS_ON_A_PHONE = 5;
/** Distance from the cursor, in pixels. */
const OFFSET = 16;

/**
 * @param {number} t
 * @param {number} step
 */
function bucketText(t, step) {
  const end = t + step;
  if (step < 86400 && day(t) === day(end - 1)) return `${day(t)}, ${clock(t)} – ${clock(end)}`;
  return `${day(t)}, ${clock(t, false)} – ${day(end)}, ${clock(end, false)}`;
}

/**
 * Keeps the box beside the cursor and inside the chart.
 * @param {HTMLElement} box
 * @param {{left: number, width: number}} at
 */
function place(box, at) {
  const width = box.offsetWidth;
  const right = at.left + OFFSET;
  const left = right + width <= at.width ? right : at.left - OFFSET - width;
  box.style.left = `${Math.max(0, Math.min(left, at.width - width))}px`;
}

/**
 * @param {{at: {index: number, left: number, top: number, width: number} | null}} props
 */
export function Tooltip({ at }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  useLayoutEffect(() => {
    if (box.current && at) place(box.current, at);
  });
  const p = plot.value;
  if (at === null || p === null || at.index >= p.times.length) return null;
  const { index } = at;
  const rows = at.width < 560 ? ROWS_ON_A_PHONE : ROWS;
  const filled = p.visible.filter((s) => s.values[index] !== null)
    .sort((a, b) => (b.values[index] ?? 0) - (a.values[index] ?? 0));
  const sum = filled.reduce((total, s) => total + (s.values[index] ?? 0), 0);
  // Series that the limit cut or the legend hides are not in this sum, and it must not claim so.
  const whole = p.visible.length === p.series.length && !result.value?.truncated;
  const unit = p.fn === 'rate' ? '/s' : '';
  return html`<div class="tooltip" ref=${box} role="status">
    <div class="tooltip-head"><span>${bucketText(p.times[index], p.step)}</span>
      <span class="muted">${isOpen(p, index) ? 'open' : 'sealed'}</span></div>
    ${filled.length === 0 && html`<div class="muted">no event</div>`}
    ${filled.slice(0, rows).map((s) => html`<div class="tooltip-row" key=${s.key}>
      <i class="swatch" style=${{ background: s.color }}></i>
      <span class="cut">${labelText(s.label, view.value.by)}</span>
      <b>${pointText(p.fn, s.values[index])}${unit}</b></div>`)}
    ${filled.length > rows && html`<div class="muted">and ${filled.length - rows} more</div>`}
    ${filled.length > 1 && isAdditive(p.fn) && html`<div class="tooltip-row tooltip-sum"><i class="swatch"></i><span>${whole ? 'total' : 'total of those shown'}</span><b>${totalText(p.fn, sum)}${unit}</b></div>`}
  </div>`;
}
