/** A small picture of a metric's last minutes, on a canvas. */
import { html, useEffect, useRef } from './lib.js';
import { inks } from './palette.js';

/** @typedef {import('./types/answers.js').Result} Result */

/**
 * Draws bars from zero, or points of a level between its extremes. Steps that may still change are paler.
 * @param {HTMLCanvasElement} canvas
 * @param {Result} answer
 * @param {(number | null)[]} values
 * @param {{only: string, grid: string}} ink
 */
function draw(canvas, answer, values, ink) {
  const scale = devicePixelRatio;
  const width = Math.round(canvas.clientWidth * scale);
  const height = Math.round(canvas.clientHeight * scale);
  if (width === 0) return;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const c = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  c.clearRect(0, 0, width, height);
  c.fillStyle = ink.grid;
  c.fillRect(0, height - 1, width, 1);
  const known = /** @type {number[]} */ (values.filter((v) => v !== null));
  if (known.length === 0) return;
  const level = answer.kind === 'gauge';
  const top = Math.max(...known);
  const bottom = level ? Math.min(...known) : Math.min(0, ...known);
  const span = top - bottom;
  const step = width / values.length;
  const thick = Math.max(1, Math.round(1.5 * scale));
  c.fillStyle = ink.only;
  values.forEach((v, i) => {
    if (v === null) return;
    const x = Math.round(i * step);
    const wide = Math.max(1, Math.round((i + 1) * step) - x - (level ? 0 : Math.min(Math.round(scale), step / 3)));
    const part = span > 0 ? (v - bottom) / span : level ? 0.5 : 1;
    const tall = Math.round(part * (height - thick - 1));
    c.globalAlpha = answer.times[i] + answer.step > answer.sealed_until ? 0.45 : 1;
    if (level) c.fillRect(x, height - 1 - thick - tall, wide, thick);
    else c.fillRect(x, height - 1 - Math.max(thick, tall), wide, Math.max(thick, tall));
  });
  c.globalAlpha = 1;
}

/** @param {{answer: Result, values: (number | null)[], width: number, label: string}} props */
export function Spark({ answer, values, width, label }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const ink = inks.value;
  useEffect(() => {
    if (canvas.current !== null) draw(canvas.current, answer, values, ink);
  }, [answer, values, ink, width]);
  return html`<canvas class="spark" ref=${canvas} role="img" aria-label=${label}></canvas>`;
}
