/** What surrounds every page: header, navigation, connection. */
import { connection } from './api.js';
import { isEmpty, result, status } from './data.js';
import { clock } from './format.js';
import { lazy } from './lazy.js';
import { computed, html, useEffect } from './lib.js';
import { MetricPicker } from './picker.js';
import { LedgerLight } from './quality.js';
import { follow, format, live, page, view } from './state.js';
import { nextTheme, setTheme, theme } from './theme.js';

/** The pages, in the order of the navigation. */
const PAGES = [
  { id: 'live', name: 'Live', ...lazy(async () => (await import('./live.js')).Live) },
  { id: 'explore', name: 'Explore', ...lazy(async () => (await import('./explore.js')).Explore) },
  { id: 'metrics', name: 'Metrics', ...lazy(async () => (await import('./metrics.js')).Metrics) },
];

const current = computed(() => PAGES.find((p) => p.id === page.value) ?? PAGES[0]);

/** The name of the page that is shown. */
export const pageName = computed(() => current.value.name);

/** The last view of Explore, to which its link returns; '' before the first. */
let lastExplore = '';

/** @param {string} id */
function linkTo(id) {
  if (id === 'live') return './';
  if (page.value === 'explore' && view.value.m !== '') lastExplore = format(view.value);
  return id === 'explore' && lastExplore !== '' ? `./${lastExplore}` : `./#${id}`;
}

/** What is shown; while another page is loaded, the one before it stays. @type {any} */
let shown = null;

/** The current page. */
function Page() {
  const p = current.value;
  useEffect(() => {
    scrollTo(0, 0); // where another page was scrolled to means nothing on this one
    return p.ensure();
  }, [p]);
  if (p.component.value !== null) shown = p.component.value;
  return shown === null ? null : html`<${shown} />`;
}

/** Whether what is shown follows the clock, and whether the server answers. */
function Live() {
  const { state } = connection.value;
  const moving = page.value !== 'explore' || live.value || isEmpty.value || (result.value !== null && result.value.sealed_until < result.value.to);
  const text = state === 'lost' ? 'Offline' : state === 'slow' ? 'Waiting' : moving ? 'Live' : 'Fixed window';
  return html`<span class="live" role="status" data-testid="live" data-state=${state}><i class=${`dot ${state} ${moving ? 'moving' : ''}`}></i>${text}</span>`;
}

function ThemeSwitch() {
  const next = nextTheme.value;
  return html`<button type="button" class="button" data-testid="theme" aria-label=${`Theme: ${theme.value}. Switch to ${next}`}
    onClick=${() => setTheme(next)}><span class="theme-word">Theme: </span>${theme.value}</button>`;
}

/** Floats over the page's lower edge, so that nothing moves when it comes and goes. */
function ConnectionBar() {
  const { state, since, heard } = connection.value;
  if (state === 'ok') return null;
  const shown = result.value !== null && heard > 0 ? ` What is shown is from ${clock(heard / 1000)}.` : '';
  const what = state === 'lost' ? `Cannot reach Cairn since ${clock(since / 1000)}; retrying.` : `Cairn has not answered since ${clock(since / 1000)}; waiting.`;
  return html`<div class="offline" id="offline" data-testid="offline" role="alert"><i class="dot lost"></i><span>${what}${shown}</span></div>`;
}

export function Shell() {
  return html`
    <header class="top">
      <a class="brand" href="./" onClick=${follow} title=${status.value ? `Cairn ${status.value.version}` : 'Cairn'}><img src="favicon.svg" alt="" width="24" height="24" />Cairn</a>
      <nav aria-label="Pages">${PAGES.map((p) => html`<a key=${p.id} href=${linkTo(p.id)} onClick=${follow} data-testid=${`page-${p.id}`}
        aria-current=${p === current.value ? 'page' : undefined}>${p.name}</a>`)}</nav>
      <${MetricPicker} />
      <div class="top-end"><${LedgerLight} /><${Live} /><${ThemeSwitch} /></div>
    </header>
    <main><${Page} /></main>
    <${ConnectionBar} />`;
}
