/** Light or dark: the system's preference, unless the switch says otherwise. The stylesheet follows data-theme. */
import { computed, signal } from './lib.js';

const KEY = 'cairn.theme';
const ORDER = ['auto', 'dark', 'light'];
const system = matchMedia('(prefers-color-scheme: dark)');
const systemDark = signal(system.matches);
system.addEventListener('change', () => {
  systemDark.value = system.matches;
});

/** auto, dark or light */
export const theme = signal(document.documentElement.dataset.theme ?? 'auto');

/** Whether the page is dark now. */
export const dark = computed(() => (theme.value === 'auto' ? systemDark.value : theme.value === 'dark'));

/** The choice after this one. */
export const nextTheme = computed(() => ORDER[(ORDER.indexOf(theme.value) + 1) % ORDER.length]);

/** @param {string} choice */
export function setTheme(choice) {
  theme.value = choice;
  if (choice === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
  try {
    localStorage.setItem(KEY, choice);
  } catch {
    // Storage can be forbidden; the choice then lasts as long as the page.
  }
}
