/** The Explore page: one metric, filtered, grouped and drawn. */
import { Chart, look } from './chart.js';
import { FunctionChoice, GroupBy, RangeChoice, StepChoice, TypeChoice } from './controls.js';
import { Filters } from './filters.js';
import { duration, exact, perSecond, sentence, span, zone } from './format.js';
import { isCount, pointName, precision, totalName, totalText } from './kinds.js';
import { lazy } from './lazy.js';
import { html, useEffect } from './lib.js';
import { Legend, elapsed } from './legend.js';
import { isEmpty, pending, refusal, result } from './data.js';
import { plot } from './model.js';
import { update, view } from './state.js';

/** @param {{name: string, hint?: string, children?: any}} props */
const Fact = ({ name, hint, children }) => html`<div title=${hint}><dt>${name}</dt><dd>${children}</dd></div>`;

/** @param {import('./types/answers.js').Result} r */
function exactly(r) {
  if (r.total === null) return 'There is no event to read it from.';
  const limit = precision(r.fn);
  return limit === '' ? `exactly ${r.total}` : `${r.total}; ${limit}`;
}

/** The function over the whole window, and what the window is. */
function Summary() {
  const r = result.value;
  if (r === null) return html`<header class="summary"><div><h1 class="cut">${view.value.m}</h1><div class="total muted">–</div></div></header>`;
  return html`<header class="summary">
    <div class="sum"><div class="sum-head"><h1 class="cut" title=${r.metric}>${r.metric}</h1>
        <span class="label" data-testid="total-name" data-fn=${r.fn} data-kind=${r.kind}>${r.kind}, ${totalName(r.fn)}</span></div>
      <div class="total" id="total" data-value=${r.total === null ? '' : JSON.stringify(r.total)} title=${exactly(r)}>${totalText(r.fn, r.total)}</div></div>
    <dl class="facts">
      <${Fact} name=${`Window, ${zone(r.from)}`}>${span(r.from, r.to)}<//>
      <${Fact} name="Step">${duration(r.step)}<//>
      <${Fact} name="Tier"><span class="badge" data-testid="tier" data-tier=${r.tier} data-step=${r.step}
        title=${`Read from the ${r.tier} tier in steps of ${duration(r.step)}`}>${r.tier}</span><//>
      ${isCount(r.fn) && html`<${Fact} name="Rate" hint="The average over the part of the window that has passed">${perSecond((r.total ?? 0) / elapsed(r))}<//>`}
      <${Fact} name="Series" hint="Series with an event in the window that pass the filters">${exact(r.series_matched)}<//>
    </dl>
  </header>`;
}

/** Refusals and warnings, above the chart. */
function Messages() {
  const refused = refusal.value;
  const r = result.value;
  const warnings = r !== null && r.warnings ? r.warnings : [];
  return html`
    ${refused && html`<div class="message error" role="alert" data-testid="error"><b>${sentence(refused.message)}</b>
      <span>${refused.param ? `The fault is in “${refused.param}”. ` : ''}${r ? 'The chart still shows the last answer, and every control works.' : 'Every control still works.'}</span></div>`}
    ${warnings.map((w) => html`<div class="message" role="status" data-testid="warning" key=${w}>${sentence(w)}</div>`)}`;
}

/** Why the chart is blank, when it is. */
function Blank() {
  const r = result.value;
  const p = plot.value;
  if (r === null) return refusal.value ? null : html`<div class="blank muted">Loading…</div>`;
  if (p === null || p.points > 0) return null;
  if (p.series.length > 0 && p.visible.length === 0) return html`<div class="blank"><span>All series are hidden.</span>
    <button type="button" class="button" onClick=${() => update({ show: [], hide: [] })}>Show all</button></div>`;
  return html`<div class="blank"><span>No event in this window${view.value.f.length > 0 ? ' matches the filters' : ''}.</span>
    ${view.value.f.length > 0 && html`<button type="button" class="button" onClick=${() => update({ f: [] })}>Clear filters</button>`}</div>`;
}

/** What the axes and the hatching mean. */
function Caption() {
  const r = result.value;
  const p = plot.value;
  if (r === null || p === null) return html`<div class="caption"><span> </span></div>`;
  const unit = pointName(r.kind, r.fn, duration(r.step));
  const mark = look.value === 'bars' ? 'open-bar' : 'open-line';
  return html`<div class="caption">
    <span class="cut">${unit}${look.value === 'edges' ? '; the bars are too narrow, so only their upper edges are drawn' : ''}</span>
    ${pending.value && !refusal.value && html`<span class="loading">loading…</span>`}
    ${p.hasOpen && p.points > 0 && html`<span class="open-note"><i class=${mark}></i>open: may still change</span>`}
  </div>`;
}

const empty = lazy(async () => (await import('./empty.js')).Empty);

/** The page. */
export function Explore() {
  useEffect(() => (isEmpty.value ? empty.ensure() : undefined), [isEmpty.value]);
  if (isEmpty.value) return empty.component.value && html`<${empty.component.value} />`;
  return html`<div class="explore">
    <div class="controls">
      <div class="control-row"><${Filters} /><${GroupBy} /></div>
      <div class="control-row"><${RangeChoice} /><${StepChoice} /><${FunctionChoice} /><${TypeChoice} /></div>
    </div>
    <${Messages} />
    <${Summary} />
    <${Caption} />
    <div class=${`stage ${plot.value === null ? 'bare' : ''}`}><${Chart} /><${Blank} /></div>
    <${Legend} />
  </div>`;
}
