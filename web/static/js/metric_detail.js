/** The details of one metric: its tags, which of them makes it large, and its busiest series. */
import { getTags } from './api.js';
import { metrics, repeat, since, tried, visible } from './data.js';
import { escape, formatFilter } from './filter.js';
import { ago, exact, perSecond } from './format.js';
import { html, useEffect, useState } from './lib.js';
import { hot, idOf, rates } from './live_data.js';
import { Marks } from './picker.js';
import { exploreLink, follow } from './state.js';

/** @typedef {import('./types/answers.js').Tag} Tag */

const TAGS_EVERY = 10_000;
/** Values of a key that are listed; Explore has the rest. */
const VALUES = 8;
const HOT = 8;

/** @param {string} key @param {string} value */
const filterOf = (key, value) => formatFilter({ not: false, key, values: [escape(value)] });

/** @param {{tag: Tag, drives: boolean, series: number, link: (f: string[]) => string}} props */
function TagKey({ tag, drives, series, link }) {
  const more = tag.values.length - VALUES;
  return html`<details data-testid="detail-key" data-key=${tag.key} data-values=${tag.values.length}>
    <summary><b class="cut">${tag.key}</b>${drives && html`<span class="badge" data-testid="detail-drives" title="No other key has so many values">most values</span>`}
      <span class="muted">${exact(tag.values.length)} ${tag.values.length === 1 ? 'value' : 'values'}</span></summary>
    <ul class="detail-list">${tag.values.slice(0, VALUES).map((v) => html`<li key=${v.value}><a class="cut" href=${link([filterOf(tag.key, v.value)])} onClick=${follow} title=${v.value}
        data-testid="detail-value" data-value=${v.value}>${v.value === '' ? '(empty)' : v.value}</a>
      <meter min="0" max=${Math.max(1, series)} value=${v.series} aria-hidden="true"></meter><span class="muted">${exact(v.series)}</span></li>`)}
      ${more > 0 && html`<li class="muted">${exact(more)} more</li>`}</ul></details>`;
}

/** @param {{tags: Record<string, string | string[]>}} props */
function Tagset({ tags }) {
  const pairs = Object.entries(tags).flatMap(([key, v]) => (Array.isArray(v) ? v : [v]).map((value) => ({ key, value })));
  if (pairs.length === 0) return html`<span class="muted">no tags</span>`;
  return pairs.map(({ key, value }) => html`<span class="tag" key=${`${key}:${value}`}><span class="muted">${key}</span>${value === '' ? '(empty)' : value}</span>`);
}

/** @param {{kind: string, metric: string, link: (f: string[]) => string}} props */
function HotSeries({ kind, metric, link }) {
  if (hot.value === null) return null;
  const list = hot.value.series.filter((s) => s.metric === metric && s.kind === kind).slice(0, HOT);
  return html`<section><h2>Busiest series now</h2>
    ${list.length === 0 && html`<p class="muted">None of the 1,000 busiest series is of this metric.</p>`}
    <ul class="detail-list">${list.map((s) => html`<li key=${JSON.stringify(s.tags)}><a class="whole" data-testid="detail-hot" onClick=${follow}
        href=${link(Object.entries(s.tags).flatMap(([key, v]) => (Array.isArray(v) ? v : [v]).map((value) => filterOf(key, value))))}><${Tagset} tags=${s.tags} /></a>
      <span class="muted">${perSecond(s.rate)}</span></li>`)}</ul></section>`;
}

/** @param {{kind: string, metric: string}} props */
export function MetricDetail({ kind, metric }) {
  const [tags, setTags] = useState(/** @type {Tag[] | null} */ (null));
  useEffect(() => {
    if (!visible.value) return undefined;
    let gone = false;
    const stop = repeat(async () => {
      const list = await tried(getTags(metric, kind));
      if (list !== null && !gone) setTags(list);
      return list === null ? 1000 : TAGS_EVERY;
    });
    return () => {
      gone = true;
      stop();
    };
  }, [kind, metric, visible.value]);
  const row = metrics.value?.find((m) => m.metric === metric && m.kind === kind);
  /** @param {string[]} f */
  const link = (f) => exploreLink(metric, row?.conflict ? kind : '', f);
  const byValues = tags === null ? [] : [...tags].sort((a, b) => b.values.length - a.values.length || (a.key < b.key ? -1 : 1));
  const rate = rates.value.get(idOf(kind, metric));
  return html`<header class="detail-head"><h2 title=${metric}>${metric}</h2>
      <a class="plain" href="./#metrics" onClick=${follow} aria-label="Close the details">Close</a></header>
    ${row === undefined && metrics.value !== null && html`<p class="muted">${`No ${kind} of this name is known; it appears with its first event.`}</p>`}
    ${row && html`<p class="muted">${kind} · ${exact(row.series)} series · ${rate === undefined ? '' : `${perSecond(rate)} · `}${ago(since(row.last_seen))}</p>
      <p><${Marks} item=${row} /></p>
      <p><a class="button detail-open" data-testid="detail-explore" href=${link([])} onClick=${follow}>Open in Explore</a></p>`}
    <section><h2>Tags</h2>
      ${tags === null ? html`<p class="muted">Loading…</p>` : tags.length === 0 && html`<p class="muted">Its events have no tags.</p>`}
      ${byValues.map((tag, i) => html`<${TagKey} key=${tag.key} tag=${tag} series=${row?.series ?? 0} link=${link}
        drives=${i === 0 && tag.values.length > 1 && tag.values.length > (byValues[1]?.values.length ?? 0)} />`)}</section>
    <${HotSeries} kind=${kind} metric=${metric} link=${link} />`;
}
