/** Starts the page. */
import { result, start } from './data.js';
import { Explore } from './explore.js';
import { effect, html, render } from './lib.js';
import { Shell } from './shell.js';
import { view } from './state.js';

const root = /** @type {HTMLElement} */ (document.getElementById('app'));
root.textContent = '';
render(html`<${Shell}><${Explore} /><//>`, root);
start();

effect(() => {
  document.title = view.value.m === '' ? 'Cairn' : `${view.value.m} – Cairn`;
});

// For tests and the console: copies, so that nothing outside can change what the page shows.
Object.defineProperty(window, 'cairn', {
  value: Object.freeze({
    state: () => structuredClone(view.peek()),
    lastResult: () => structuredClone(result.peek()),
  }),
});
