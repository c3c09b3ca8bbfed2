/**
 * Colours of series. Ten hues, found by a search that maximises the smallest difference of any two under
 * normal sight, protanopia, deuteranopia and tritanopia, with a contrast of at least 3:1 against the
 * page in both themes. Red is left out: on this page it means that something is wrong.
 */
import { computed } from './lib.js';
import { dark } from './theme.js';

/** @typedef {{text: string, grid: string, only: string}} Inks */

const LIGHT = ['#9f1e58', '#8f5d07', '#1a5016', '#5d2d90', '#e161a4', '#aa9300', '#8165d9', '#209265', '#27648a', '#269ed2'];
const DARK = ['#d25283', '#c58d3f', '#337f2c', '#8051b8', '#eb98bf', '#eacf42', '#a48bfe', '#64f3b4', '#4a8db9', '#5fc6f9'];

export const palette = computed(() => (dark.value ? DARK : LIGHT));

/** What the canvas draws with; the stylesheet holds the same neutrals. */
export const inks = computed(() => /** @type {Inks} */ (dark.value
  ? { text: '#9aa4ae', grid: 'rgba(255,255,255,0.07)', only: '#6aa8f0' }
  : { text: '#59626b', grid: 'rgba(0,0,0,0.07)', only: '#1f66c2' }));

/**
 * FNV-1a with a final mix, because the low digits of plain FNV-1a are alike for alike names.
 * @param {string} text
 */
function hash(text) {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b);
  return (h ^ (h >>> 13)) >>> 0;
}

/**
 * Gives each series a slot in the palette from its tagset alone, so that it keeps its colour across
 * visits. Who collides moves to the next free slot, in an order that only depends on the tagsets.
 * @param {string[]} keys
 * @returns {Map<string, number>}
 */
export function assignSlots(keys) {
  const slots = new Map();
  const order = keys.map((key) => ({ key, h: hash(key) })).sort((a, b) => a.h - b.h || (a.key < b.key ? -1 : 1));
  let used = new Set();
  const losers = [];
  for (const { key, h } of order) {
    const home = h % LIGHT.length;
    if (used.has(home)) losers.push({ key, home });
    else {
      used.add(home);
      slots.set(key, home);
    }
  }
  for (const { key, home } of losers) {
    if (used.size === LIGHT.length) used = new Set();
    let slot = home;
    while (used.has(slot)) slot = (slot + 1) % LIGHT.length;
    used.add(slot);
    slots.set(key, slot);
  }
  return slots;
}
