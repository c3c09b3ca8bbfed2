/** What surrounds every page: header, navigation, connection. */
import { connection } from './api.js';
import { isEmpty, result, status } from './data.js';
import { clock } from './format.js';
import { html } from './lib.js';
import { MetricPicker } from './picker.js';
import { LedgerLight } from './quality.js';
import { live } from './state.js';
import { nextTheme, setTheme, theme } from './theme.js';

/** The pages, in the order of the navigation. */
const PAGES = [{ href: './', name: 'Explore' }];

/** Whether what is shown follows the clock, and whether the server answers. */
function Live() {
  const { state } = connection.value;
  const moving = live.value || isEmpty.value || (result.value !== null && result.value.sealed_until < result.value.to);
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

/**
 * @param {{children?: any}} props
 */
export function Shell({ children }) {
  return html`
    <header class="top">
      <a class="brand" href="./" title=${status.value ? `Cairn ${status.value.version}` : 'Cairn'}><img src="favicon.svg" alt="" width="24" height="24" />Cairn</a>
      <nav aria-label="Pages">${PAGES.map((p) => html`<a key=${p.href} href=${p.href} aria-current="page">${p.name}</a>`)}</nav>
      <${MetricPicker} />
      <div class="top-end"><${LedgerLight} /><${Live} /><${ThemeSwitch} /></div>
    </header>
    <main>${children}</main>
    <${ConnectionBar} />`;
}
