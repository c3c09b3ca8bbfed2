/** The page Metrics: all that are known, and the details of one. */
import { Empty } from './empty.js';
import { isEmpty, metrics, since, visible } from './data.js';
import { ago, exact, perSecond } from './format.js';
import { search } from './fuzzy.js';
import { Marks } from './picker.js';
import { html, useEffect, useMemo, useRef, useState } from './lib.js';
import { followHot, idOf, rates } from './live_data.js';
import { MetricDetail } from './metric_detail.js';
import { detail, detailLink, follow, go } from './state.js';
import { useRows } from './virtual.js';

/** @typedef {import('./types/answers.js').Metric} Metric */
/** @typedef {{id: string, name: string, title?: string, up?: boolean, of: (m: Metric) => string | number}} Column */

/** Of a row; the stylesheet has the same. */
const ROW = 32;

/** @param {Metric} m */
const rateOf = (m) => rates.value.get(idOf(m.kind, m.metric)) ?? 0;

/** @type {Column[]} */
const COLUMNS = [
  { id: 'metric', name: 'Metric', up: true, of: (m) => m.metric },
  { id: 'kind', name: 'Kind', up: true, of: (m) => m.kind },
  { id: 'series', name: 'Series', of: (m) => m.series },
  { id: 'rate', name: 'Events/s', title: 'In the last seconds, of the 1,000 busiest series', of: rateOf },
  { id: 'seen', name: 'Last seen', of: (m) => m.last_seen },
  { id: 'marks', name: 'Marks', title: 'Names in conflict and folded tags', of: (m) => Number(m.conflict) + 2 * Number(m.overflow) },
];

/** @param {string | number} a @param {string | number} b */
const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

/**
 * @param {Metric[]} list
 * @param {string} sort  a column, '-' first for descending
 */
function sorted(list, sort) {
  const down = sort.startsWith('-');
  const column = COLUMNS.find((c) => c.id === sort.replace('-', '')) ?? COLUMNS[0];
  const keyed = list.map((m) => ({ m, key: column.of(m) }));
  keyed.sort((a, b) => (down ? -1 : 1) * compare(a.key, b.key) || compare(a.m.metric, b.m.metric) || compare(a.m.kind, b.m.kind));
  return keyed.map(({ m }) => m);
}

/** @param {{column: Column, sort: string, choose: (sort: string) => void}} props */
function Head({ column, sort, choose }) {
  const on = sort.replace('-', '') === column.id;
  const down = sort.startsWith('-');
  const next = on ? (down ? column.id : `-${column.id}`) : column.up ? column.id : `-${column.id}`;
  return html`<th scope="col" class=${`m-${column.id}`} aria-sort=${on ? (down ? 'descending' : 'ascending') : 'none'} title=${column.title}>
    <button type="button" data-testid=${`metrics-sort-${column.id}`} onClick=${() => choose(next)}>${column.name}${on && html`<span class="arrow" aria-hidden="true">${down ? '↓' : '↑'}</span>`}</button></th>`;
}

/** @param {{m: Metric, place: number}} props */
function MetricRow({ m, place }) {
  const link = detailLink(m.kind, m.metric);
  const rate = rateOf(m);
  const chosen = detail.value !== null && detail.value.kind === m.kind && detail.value.metric === m.metric;
  return html`<tr data-testid="metrics-row" data-metric=${m.metric} data-kind=${m.kind} class=${chosen ? 'chosen' : ''} aria-rowindex=${place + 2} onClick=${(/** @type {any} */ e) => e.target.closest('a') ?? go(link)}>
    <th scope="row" class="m-metric cut" title=${m.metric}><a href=${link} onClick=${follow} aria-current=${chosen ? 'true' : undefined}>${m.metric}</a></th>
    <td class="m-kind">${m.kind}</td><td class="m-series">${exact(m.series)}</td><td class="m-rate">${rate > 0 ? perSecond(rate).replace('/s', '') : '–'}</td>
    <td class="m-seen">${ago(since(m.last_seen))}</td><td class="m-marks"><${Marks} item=${m} /></td></tr>`;
}

/** @param {{list: Metric[], sort: string, choose: (sort: string) => void}} props */
function Table({ list, sort, choose }) {
  const { box, first, end, above, below } = useRows(list.length, ROW);
  return html`<table class="metrics" aria-rowcount=${list.length + 1} data-testid="metrics-table">
    <thead><tr aria-rowindex="1">${COLUMNS.map((c) => html`<${Head} key=${c.id} column=${c} sort=${sort} choose=${choose} />`)}</tr></thead>
    <tbody ref=${box}>
      <tr aria-hidden="true" class="space"><td style=${{ height: `${above}px` }}></td></tr>
      ${list.slice(first, end).map((m, i) => html`<${MetricRow} key=${idOf(m.kind, m.metric)} m=${m} place=${first + i} />`)}
      <tr aria-hidden="true" class="space"><td style=${{ height: `${below}px` }}></td></tr>
    </tbody></table>`;
}

/** The page. */
export function Metrics() {
  const [needle, setNeedle] = useState('');
  const [sort, setSort] = useState('metric');
  useEffect(() => (visible.value ? followHot() : undefined), [visible.value]);
  const all = metrics.value;
  // Only what one sorts by can move rows.
  const moving = sort.endsWith('rate') ? rates.value : null;
  const list = useMemo(() => sorted(search(needle, all ?? [], (m) => m.metric).map(({ item }) => item), sort), [all, needle, sort, moving]);
  const panel = useRef(/** @type {HTMLElement | null} */ (null));
  const chosen = detail.value;
  useEffect(() => {
    if (chosen !== null) panel.current?.scrollIntoView({ block: 'nearest' });
  }, [chosen?.kind, chosen?.metric]);
  if (isEmpty.value) return html`<${Empty} />`;
  return html`<div class=${`page metrics-page ${chosen ? 'with-detail' : ''}`}>
    <div class="live-top"><h1>Metrics</h1>
      <div class="live-find"><input type="search" class="field" data-testid="metrics-search" aria-label="Search metrics" placeholder="Search metrics" spellcheck=${false} autocomplete="off"
          value=${needle} onInput=${(/** @type {any} */ e) => setNeedle(e.currentTarget.value)} />
        <span class="label" role="status" data-testid="metrics-count">${all === null ? 'Loading…' : needle === '' ? `${exact(all.length)} in all` : `${exact(list.length)} of ${exact(all.length)}`}</span></div></div>
    <div class="metrics-body">
      <div class="metrics-list"><${Table} list=${list} sort=${sort} choose=${setSort} />
        ${all !== null && list.length === 0 && html`<p class="live-none"><span class="muted">${`No metric matches “${needle}”. `}</span><button type="button" class="button" onClick=${() => setNeedle('')}>Clear search</button></p>`}</div>
      ${chosen && html`<aside ref=${panel} class="detail" aria-label="Details" data-testid="metric-detail"><${MetricDetail} key=${idOf(chosen.kind, chosen.metric)} kind=${chosen.kind} metric=${chosen.metric} /></aside>`}
    </div></div>`;
}
