/** Starts the page. */
import { result, start } from './data.js';
import { effect, html, render } from './lib.js';
import { Shell, pageName } from './shell.js';
import { page, view } from './state.js';

const root = /** @type {HTMLElement} */ (document.getElementById('app'));
root.textContent = '';
render(html`<${Shell} />`, root);
start();

effect(() => {
  const of = page.value === 'explore' && view.value.m !== '' ? view.value.m : pageName.value;
  document.title = `${of} – Cairn`;
});

// For tests and the console: copies, so that nothing outside can change what the page shows.
Object.defineProperty(window, 'cairn', {
  value: Object.freeze({
    state: () => structuredClone(view.peek()),
    lastResult: () => structuredClone(result.peek()),
  }),
});
