/** The chart: uPlot's axes, scales, cursor and selection around our own drawing of the series. */
import uPlot from '../vendor/uplot.js';
import { drawPlot } from './draw.js';
import { axisTimes, duration } from './format.js';
import { axisText, pointName, totalName, totalText } from './kinds.js';
import { effect, html, signal, useEffect, useRef } from './lib.js';
import { pending, result } from './data.js';
import { plot } from './model.js';
import { inks } from './palette.js';
import { chooseWindow, resetWindow } from './state.js';
import { Tooltip } from './tooltip.js';

/** @typedef {import('./model.js').Plot} Plot */

/** The bucket under the cursor, with the cursor's place in the plotting area; null when there is none. */
export const hover = signal(/** @type {{index: number, left: number, top: number, width: number} | null} */ (null));

/** How the series were drawn; the width decides whether bars fit. */
export const look = signal(/** @type {import('./draw.js').Look} */ ('bars'));

const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

/** Distances between ticks of the value axis: 1, 2, 5 times a power of ten; half a thing is not counted. */
const WHOLE = Array.from({ length: 48 }, (_, i) => [1, 2, 5][i % 3] * 10 ** Math.floor(i / 3));
const ANY = [...Array.from({ length: 36 }, (_, i) => Number(`${[1, 2, 5][i % 3]}e${Math.floor(i / 3) - 12}`)), ...WHOLE];

/** Space right of the plotting area, so that its last bar is not the edge of the page. */
const RIGHT = 8;

/** A phone has no height to give away. @param {number} width */
const heightFor = (width) => (width < 560 ? 240 : 320);

/**
 * Labels of the time axis, without one that the edge of the canvas would cut.
 * @param {uPlot} u
 * @param {number[]} splits
 * @param {number} _axis
 * @param {number} _space
 * @param {number} increment
 */
function timeLabels(u, splits, _axis, _space, increment) {
  const labels = axisTimes(splits, increment);
  const half = increment < 60 ? 32 : 20;
  return labels.map((label, i) => (u.valToPos(splits[i], 'x') > u.over.clientWidth + RIGHT - half ? '' : label));
}

/**
 * A drag of the mouse becomes an absolute window of whole buckets.
 * @param {uPlot} u
 * @param {Plot | null} p
 */
function zoom(u, p) {
  const { left, width } = u.select;
  u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  if (p === null || width < 4) return;
  const from = p.from + Math.floor((u.posToVal(left, 'x') - p.from) / p.step) * p.step;
  const to = p.from + Math.ceil((u.posToVal(left + width, 'x') - p.from) / p.step) * p.step;
  if (to > from) chooseWindow(Math.max(from, p.from), Math.min(to, p.to));
}

/**
 * @param {uPlot} u
 * @param {Plot | null} p
 * @param {HTMLElement} band
 */
function point(u, p, band) {
  const left = u.cursor.left ?? -1;
  const index = p === null || left < 0 ? -1 : Math.floor((u.posToVal(left, 'x') - p.times[0]) / p.step);
  if (p === null || index < 0 || index >= p.times.length) {
    band.hidden = true;
    hover.value = null;
    return;
  }
  const start = u.valToPos(p.times[index], 'x');
  band.hidden = false;
  band.style.left = `${start}px`;
  band.style.width = `${Math.max(1, u.valToPos(p.times[index] + p.step, 'x') - start)}px`;
  hover.value = { index, left: left + u.over.offsetLeft, top: (u.cursor.top ?? 0) + u.over.offsetTop, width: u.width };
}

/**
 * What uPlot does for us: scales, axes, cursor and selection.
 * @param {() => Plot | null} current
 */
function frame(current) {
  const axis = {
    font: FONT,
    stroke: () => inks.peek().text,
    grid: { stroke: () => inks.peek().grid, width: 1 },
    ticks: { show: false },
    gap: 8,
  };
  /** @param {(p: Plot) => [number, number]} ends @returns {() => [number, number]} */
  const range = (ends) => () => {
    const p = current();
    return p === null ? [0, 1] : ends(p);
  };
  return /** @type {Omit<uPlot.Options, 'width' | 'height'>} */ ({
    padding: [8, RIGHT, 0, 0],
    legend: { show: false },
    cursor: {
      x: false,
      y: false,
      points: { show: false },
      drag: { x: true, y: false, setScale: false },
      bind: { dblclick: () => () => (resetWindow(), null) },
    },
    scales: { x: { range: range((p) => [p.from, p.to]) }, y: { range: range((p) => [p.low, p.high]) } },
    axes: [
      { ...axis, size: 40, space: 72, values: timeLabels },
      { ...axis, size: 56, space: 40, incrs: () => (current()?.whole ? WHOLE : ANY), values: (_u, splits) => splits.map((v) => axisText(current()?.fn ?? '', v)) },
    ],
    // One silent series carries the buckets' starts; the real ones are drawn by the hook.
    series: [{}, { paths: () => null, points: { show: false } }],
  });
}

/**
 * @param {HTMLElement} host
 */
function createChart(host) {
  /** @type {Plot | null} */
  let current = null;
  const band = document.createElement('div');
  band.className = 'band';
  band.hidden = true;
  const u = new uPlot({
    ...frame(() => current),
    width: host.clientWidth,
    height: heightFor(host.clientWidth),
    hooks: {
      ready: [(self) => self.over.append(band)],
      draw: [(self) => {
        if (current === null) return;
        look.value = drawPlot(self.ctx, current, self.bbox, devicePixelRatio);
        host.dataset.points = String(current.points);
        host.dataset.ready = pending.peek() ? '0' : '1';
      }],
      setCursor: [(self) => point(self, current, band)],
      setSelect: [(self) => zoom(self, current)],
    },
  }, [[0, 1], [0, 0]], host);

  return {
    /** @param {Plot} p */
    show(p) {
      current = p;
      u.setData([p.times, p.times.map(() => 0)]);
      // uPlot moves its cursor only when the mouse moves; what is under it changes with the data.
      point(u, current, band);
    },
    resize() {
      const width = host.clientWidth;
      if (width > 0 && width !== u.width) u.setSize({ width, height: heightFor(width) });
    },
    /** Moves the cursor by whole buckets, for the keyboard. @param {number} by */
    move(by) {
      if (current === null) return;
      const last = current.times.length - 1;
      const index = Math.min(last, Math.max(0, (hover.peek()?.index ?? (by > 0 ? -1 : last + 1)) + by));
      u.setCursor({ left: u.valToPos(current.times[index] + current.step / 2, 'x'), top: 8 });
    },
    leave: () => u.setCursor({ left: -10, top: -10 }),
    destroy: () => u.destroy(),
  };
}

/** What a screen reader hears instead of the picture. */
function description() {
  const r = result.value;
  if (r === null) return 'Chart, loading';
  return `Chart of ${r.metric}: ${pointName(r.kind, r.fn, duration(r.step))}, ${r.times.length} of them; ${totalName(r.fn)} ${totalText(r.fn, r.total)}. Arrow keys read the buckets.`;
}

/** The chart with its tooltip. */
export function Chart() {
  const host = useRef(/** @type {HTMLElement | null} */ (null));
  const chart = useRef(/** @type {ReturnType<typeof createChart> | null} */ (null));
  useEffect(() => {
    const el = /** @type {HTMLElement} */ (host.current);
    const made = createChart(el);
    chart.current = made;
    const stop = effect(() => {
      void inks.value;
      if (plot.value !== null) made.show(plot.value);
    });
    const stopPending = effect(() => {
      if (pending.value) el.dataset.ready = '0';
    });
    const observer = new ResizeObserver(() => made.resize());
    observer.observe(el);
    return () => {
      stop();
      stopPending();
      observer.disconnect();
      made.destroy();
      hover.value = null;
    };
  }, []);

  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    if (by !== undefined) chart.current?.move(by);
    else if (event.key === 'Escape') chart.current?.leave();
    else return;
    event.preventDefault();
  };
  return html`<div class="chart-box">
    <div id="chart" ref=${host} tabindex="0" role="group" aria-label=${description()} onKeyDown=${onKeyDown}
      onBlur=${() => chart.current?.leave()}></div>
    <${Tooltip} at=${hover.value} />
  </div>`;
}
