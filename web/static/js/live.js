/** The page Live: what moves right now, a small picture a metric, busiest first. */
import { Empty } from './empty.js';
import { isEmpty } from './data.js';
import { cell, clock, exact, perSecond, sentence } from './format.js';
import { search } from './fuzzy.js';
import { isCount, totalText } from './kinds.js';
import { html, useEffect, useState } from './lib.js';
import { ambiguous, complete, cut, eventRate, followLive, order, pointed, rates, refusals, rows } from './live_data.js';
import { Spark } from './spark.js';
import { exploreLink, follow } from './state.js';
import { useRows } from './virtual.js';

/** @typedef {import('./live_data.js').Row} Row */

/** Of a tile with the space below it; the stylesheet has the same. */
const TILE = 112;
const NARROWEST = 232;
const GAP = 8;
/** So many seconds make the current rate of a counter. */
const RECENT = 10;

/** What was counted a second in the last whole steps. @param {Row} row */
function recent({ series, answer }) {
  const steps = Math.ceil(RECENT / answer.step);
  // The last step has just begun.
  const values = series.values.slice(-steps - 1, -1);
  return values.reduce((/** @type {number} */ sum, v) => sum + (v ?? 0), 0) / (steps * answer.step);
}

/** What the figure of a kind is. */
const NAMES = /** @type {Record<string, string>} */ ({ counter: 'in 2 min', gauge: 'last', distribution: 'p95, 2 min', set: 'uniques, 2 min' });

/** @param {number | null} n */
const short = (n) => (n === null ? '–' : Math.abs(n) >= 1000 ? exact(Math.round(n)) : cell(Number(n.toPrecision(4))));

/** @param {{row: Row, width: number}} props */
function Tile({ row, width }) {
  const { metric, kind, series, answer } = row;
  const events = rates.value.get(row.id);
  const rate = kind === 'counter' ? `${perSecond(recent(row))}` : events === undefined ? '' : perSecond(events);
  const count = isCount(answer.fn);
  return html`<li><a class="tile" data-testid="live-tile" data-metric=${metric} data-kind=${kind} title=${metric}
    href=${exploreLink(metric, ambiguous.value.has(metric) ? kind : '', [], '15m')} onClick=${follow}>
    <span class="tile-head"><b class="cut">${metric}</b><span class="label">${kind === 'counter' ? '' : kind}</span></span>
    <${Spark} answer=${answer} values=${series.values} width=${width} label=${`${metric}, the last two minutes`} />
    <span class="tile-foot"><span class="tile-rate" data-testid="live-rate" title=${kind === 'counter' ? `Counted a second, in the last ${RECENT} seconds` : 'Events a second'}>${rate}</span>
      <span class="cut"><span data-testid="live-figure" data-value=${series.total === null ? '' : JSON.stringify(series.total)} title=${totalText(answer.fn, series.total)}>${
        count ? totalText(answer.fn, series.total) : short(series.total)}</span> <span class="label">${NAMES[kind] ?? answer.fn}</span></span></span></a></li>`;
}

/** @param {{list: Row[]}} props */
function Tiles({ list }) {
  const [columns, setColumns] = useState(1);
  const { box, width, first, end, above, below } = useRows(Math.ceil(list.length / columns), TILE);
  const fit = Math.max(1, Math.floor((width + GAP) / (NARROWEST + GAP)));
  useEffect(() => setColumns(fit), [fit]);
  return html`<div ref=${box} onPointerEnter=${() => (pointed.value = true)} onPointerLeave=${() => (pointed.value = false)}
    onFocusCapture=${() => (pointed.value = true)} onBlurCapture=${() => (pointed.value = false)}>
    <div style=${{ height: `${above}px` }}></div>
    <ul class="tiles" style=${{ gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))` }}>
      ${list.slice(first * columns, end * columns).map((row) => html`<${Tile} key=${row.id} row=${row} width=${width / columns} />`)}</ul>
    <div style=${{ height: `${below}px` }}></div></div>`;
}

/** @param {{shown: number, needle: string, clear: () => void}} props */
function Nothing({ shown, needle, clear }) {
  if (shown > 0) return null;
  if (needle === '') return html`<p class="live-none muted">${complete.value ? 'Nothing has moved in the last two minutes. What does appears here by itself.' : 'Loading…'}</p>`;
  return html`<p class="live-none"><span class="muted">${`No metric that moved matches “${needle}”. `}</span><button type="button" class="button" onClick=${clear}>Clear search</button></p>`;
}

/** When the pictures begin and end. */
function Caption() {
  const any = rows.value.values().next().value;
  if (any === undefined) return null;
  const { from, to } = any.answer;
  return html`<span class="label live-span" data-testid="live-span" data-from=${from} data-to=${to}>${`${clock(from)} – ${clock(to)}`}; paler: may still change</span>`;
}

/** The page. */
export function Live() {
  const [needle, setNeedle] = useState('');
  useEffect(followLive, []);
  useEffect(() => () => {
    pointed.value = false;
  }, []);
  const all = order.value.flatMap((id) => rows.value.get(id) ?? []);
  if (isEmpty.value && all.length === 0) return html`<${Empty} />`;
  // Search keeps the order, so that tiles do not jump while one types.
  const hits = new Set(search(needle, all, (r) => r.metric).map(({ item }) => item));
  const list = all.filter((r) => hits.has(r));
  const rate = eventRate.value;
  return html`<div class="page live-page">
    <div class="live-top">
      <h1 class="sum-head"><span class="total" data-testid="events-rate">${rate === null ? '–' : exact(rate >= 100 ? Math.round(rate) : Number(rate.toPrecision(3)))}</span><span class="label">events/s now</span></h1>
      <div class="live-find"><input type="search" class="field" data-testid="live-search" aria-label="Search metrics" placeholder="Search metrics" spellcheck=${false} autocomplete="off"
          value=${needle} onInput=${(/** @type {any} */ e) => setNeedle(e.currentTarget.value)} />
        <span class="label" role="status" data-testid="live-count">${needle === '' ? `${exact(all.length)} moving` : `${exact(list.length)} of ${exact(all.length)}`}</span></div>
    </div>
    <div class="caption"><${Caption} />${cut.value && html`<span>More moved than the 1,000 of a kind that are shown; the page Metrics lists them all.</span>`}</div>
    ${Object.entries(refusals.value).map(([kind, text]) => text !== '' && html`<div key=${kind} class="message error" role="alert" data-testid="error">
      <b>${sentence(text)}</b><span>${`The ${kind}s below are those of the last answer; the page Metrics lists all.`}</span></div>`)}
    <${Nothing} shown=${list.length} needle=${needle} clear=${() => setNeedle('')} />
    <${Tiles} list=${list} />
  </div>`;
}
