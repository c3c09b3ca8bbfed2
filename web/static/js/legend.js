/** The table of series under the chart. */
import { perSecond } from './format.js';
import { html } from './lib.js';
import { result, status } from './data.js';
import { isAdditive, isCount, pointText, totalName, totalText } from './kinds.js';
import { labelText, plot } from './model.js';
import { update, view } from './state.js';

/** @typedef {import('./model.js').Drawn} Drawn */

/**
 * The columns, each with what it says. A rate is made of counts only.
 * @param {string} fn
 */
function columns(fn) {
  const unit = fn === 'rate' ? ' /s' : '';
  const all = [
    { id: 'name', text: 'Tags', title: 'What the series of the row have in common' },
    { id: 'total', text: isAdditive(fn) ? 'Total' : 'Overall', title: `The ${totalName(fn)}` },
    { id: 'min', text: `Min${unit}`, title: 'The smallest number of a bucket' },
    { id: 'max', text: `Max${unit}`, title: 'The largest number of a bucket' },
    { id: 'last', text: `Last${unit}`, title: 'The number of the last bucket with an event' },
  ];
  return isCount(fn) ? [...all, { id: 'rate', text: 'Rate', title: 'The average rate over the range' }] : all;
}

/** The server's default, until it has told its own. */
const GRACE = 10;

/**
 * The part of the window that has passed, in seconds: a rate over hours that have not come yet would be wrong.
 * @param {import('./types/answers.js').Result} r
 */
export function elapsed(r) {
  const now = r.sealed_until + (status.value?.grace ?? GRACE);
  return Math.max(1, Math.min(r.to, now) - r.from);
}

/** @param {Drawn[]} series @param {string} sort @param {string[]} by */
function sorted(series, sort, by) {
  const down = sort.startsWith('-');
  const column = sort.replace('-', '');
  /** @param {Drawn} s */
  const value = (s) => (column === 'min' || column === 'max' || column === 'last' ? s[column] : s.total) ?? -Infinity;
  const names = new Intl.Collator('en', { numeric: true });
  /** @param {Drawn} a @param {Drawn} b */
  const byName = (a, b) => names.compare(labelText(a.label, by), labelText(b.label, by));
  const order = [...series].sort((a, b) => (column === 'name' ? byName(a, b) : value(a) - value(b)) || byName(a, b));
  return down ? order.reverse() : order;
}

/** Shows one series alone, or all again if it is alone already. @param {string} key */
function isolate(key) {
  const { show } = view.peek();
  const alone = show.length === 1 && show[0] === key;
  update({ show: alone ? [] : [key], hide: [] });
}

/** @param {string} key */
function toggle(key) {
  const { show, hide } = view.peek();
  const list = show.length > 0 ? show : hide;
  const next = list.includes(key) ? list.filter((k) => k !== key) : [...list, key];
  update(show.length > 0 ? { show: next } : { hide: next });
}

/** @param {{s: Drawn, fn: string, seconds: number, by: string[], lone: boolean}} props */
function Row({ s, fn, seconds, by, lone }) {
  /** @param {MouseEvent} e */
  const onClick = (e) => (e.ctrlKey || e.metaKey ? toggle(s.key) : isolate(s.key));
  const name = s.label.length === 0
    ? labelText(s.label, by)
    : s.label.map((l, i) => html`${i > 0 ? ' ' : ''}<span class="tag"><span class="muted">${l.key}:</span>${l.value}</span>`);
  return html`<tr data-testid="legend-row" data-total=${JSON.stringify(s.total)} class=${s.on ? '' : 'off'} onClick=${lone ? undefined : onClick}>
    <th scope="row"><i class="swatch" style=${{ background: s.on ? s.color : 'transparent', borderColor: s.color }}></i>
      ${lone ? html`<span class="name">${name}</span>` : html`<button type="button" class="name" aria-pressed=${String(s.on)}>${name}</button>`}</th>
    <td>${totalText(fn, s.total)}</td><td>${pointText(fn, s.min)}</td><td>${pointText(fn, s.max)}</td><td>${pointText(fn, s.last)}</td>
    ${isCount(fn) && html`<td>${perSecond((s.total ?? 0) / seconds)}</td>`}
  </tr>`;
}

/** @param {{id: string, text: string, title: string, sort: string}} props */
function Head({ id, text, title, sort }) {
  const column = sort.replace('-', '');
  const down = sort.startsWith('-');
  const state = column !== id ? 'none' : down ? 'descending' : 'ascending';
  const next = column === id ? (down ? id : `-${id}`) : id === 'name' ? id : `-${id}`;
  return html`<th scope="col" aria-sort=${state}><button type="button" data-testid=${`sort-${id}`} title=${title} onClick=${() => update({ sort: next })}>
    ${text}<span class="arrow" aria-hidden="true">${state === 'none' ? '' : down ? '↓' : '↑'}</span></button></th>`;
}

/**
 * What the query's limit cut off. It stands above the table, because the chart lacks it too.
 * @param {{r: import('./types/answers.js').Result}} props
 */
function Cut({ r }) {
  const shown = r.series.reduce((sum, s) => sum + (s.total ?? 0), 0);
  const rest = isAdditive(r.fn) ? html`the others, together ${totalText(r.fn, (r.total ?? 0) - shown)}, are in the total` : `the others are in the ${totalName(r.fn)}`;
  return html`<p class="note">These are the ${r.series.length} largest; ${rest} but neither drawn nor listed. A filter narrows them down.</p>`;
}

/** The legend. */
export function Legend() {
  const r = result.value;
  const p = plot.value;
  if (r === null || p === null || p.series.length === 0) return null;
  const { sort, by, show, hide } = view.value;
  const seconds = elapsed(r);
  const hidden = p.series.length - p.visible.length;
  return html`<section class=${`legend ${isCount(r.fn) ? '' : 'no-rate'}`} aria-label="Series">
    ${r.truncated && html`<${Cut} r=${r} />`}
    <div class="table-box"><table>
      <thead><tr>${columns(r.fn).map((c) => html`<${Head} key=${c.id} ...${c} sort=${sort} />`)}</tr></thead>
      <tbody>${sorted(p.series, sort, by).map((s) => html`<${Row} key=${s.key} s=${s} fn=${r.fn} seconds=${seconds} by=${by} lone=${p.series.length === 1} />`)}</tbody>
    </table></div>
    ${(show.length > 0 || hide.length > 0) && hidden > 0 && html`<p class="note">${hidden} of ${p.series.length} series hidden; the number above the chart still covers them.
      <button type="button" class="plain" onClick=${() => update({ show: [], hide: [] })}>Show all</button></p>`}
  </section>`;
}
