/**
 * Draws the series on uPlot's canvas. uPlot's own bars are not used, because the open buckets of one
 * series must look different from its sealed ones.
 */

/** @typedef {import('./model.js').Plot} Plot */
/** @typedef {import('./model.js').Drawn} Drawn */
/** @typedef {'bars' | 'edges' | 'lines'} Look  what the series became */
/** @typedef {{left: number, top: number, width: number, height: number}} Box */
/**
 * @typedef {object} Pen
 * @property {CanvasRenderingContext2D} ctx
 * @property {Plot} plot
 * @property {number} ratio  device pixels a CSS pixel
 * @property {(time: number) => number} x
 * @property {(value: number) => number} y
 */

/** A bar below this many CSS pixels is a hairline, and hairlines of alternating colours shimmer. */
const NARROW = 2;

/** @type {Map<string, CanvasPattern>} */
const hatches = new Map();

/**
 * Diagonal lines that continue from bar to bar.
 * @param {CanvasRenderingContext2D} ctx
 * @param {string} color
 * @param {number} ratio
 */
function hatch(ctx, color, ratio) {
  const id = `${color} ${ratio}`;
  const known = hatches.get(id);
  if (known) return known;
  const size = Math.round(6 * ratio);
  const tile = document.createElement('canvas');
  tile.width = tile.height = size;
  const t = /** @type {CanvasRenderingContext2D} */ (tile.getContext('2d'));
  t.strokeStyle = color;
  t.lineWidth = 1.25 * ratio;
  for (const shift of [-size, 0, size]) {
    t.moveTo(shift - 1, size + 1);
    t.lineTo(shift + size + 1, -1);
  }
  t.stroke();
  const made = /** @type {CanvasPattern} */ (ctx.createPattern(tile, 'repeat'));
  hatches.set(id, made);
  return made;
}

/**
 * The pixels of bucket i, without the gap to the next one; whole pixels keep the edges sharp.
 * @param {Pen} pen
 * @param {number} i
 */
function bucketSpan(pen, i) {
  const { times, step } = pen.plot;
  const exact = pen.x(times[i]);
  const start = Math.round(exact);
  const width = Math.round(pen.x(times[i] + step)) - start;
  // The gap follows the exact width: one that came and went with rounding would draw a pattern of its own.
  const wide = (pen.x(times[i] + step) - exact) / pen.ratio;
  const gap = wide >= 12 ? Math.round(wide * 0.12 * pen.ratio) : wide >= 5 ? Math.round(pen.ratio) : 0;
  return { start, width: Math.max(1, width - gap) };
}

/** @param {Plot} plot @param {number} i */
export const isOpen = (plot, i) => plot.times[i] + plot.step > plot.sealedUntil;

/**
 * @param {Pen} pen
 * @param {Path2D} sealed
 * @param {Path2D} open
 * @param {string} color
 */
function fillBars({ ctx, ratio }, sealed, open, color) {
  ctx.fillStyle = color;
  ctx.fill(sealed);
  ctx.globalAlpha = 0.22;
  ctx.fill(open);
  ctx.globalAlpha = 1;
  ctx.fillStyle = hatch(ctx, color, ratio);
  ctx.fill(open);
}

/**
 * Solid where sealed, dashed where open.
 * @param {Pen} pen
 * @param {Path2D} sealed
 * @param {Path2D} open
 * @param {string} color
 */
function strokeLines({ ctx, ratio }, sealed, open, color) {
  ctx.strokeStyle = color;
  ctx.lineWidth = 1.5 * ratio;
  ctx.lineJoin = ctx.lineCap = 'round';
  ctx.setLineDash([]);
  ctx.stroke(sealed);
  ctx.lineCap = 'butt';
  ctx.setLineDash([3 * ratio, 3 * ratio]);
  ctx.stroke(open);
  ctx.setLineDash([]);
}

/**
 * The vertical pixels of a bar. An event is never invisible, so they are at least one.
 * @param {Pen} pen
 * @param {number} bottom
 * @param {number} top
 */
function barHeight(pen, bottom, top) {
  const y0 = Math.round(pen.y(bottom));
  const height = Math.max(1, Math.abs(y0 - Math.round(pen.y(top))));
  return { y: top >= bottom ? y0 - height : y0, height };
}

/**
 * The bars of one series. `place` gives each bucket's bar its left edge and width.
 * @param {Pen} pen
 * @param {Drawn} s
 * @param {(i: number) => {start: number, width: number}} place
 */
function drawBars(pen, s, place) {
  const sealed = new Path2D();
  const open = new Path2D();
  s.tops.forEach((top, i) => {
    if (top === null) return;
    const { start, width } = place(i);
    const { y, height } = barHeight(pen, s.bottoms[i] ?? 0, top);
    (isOpen(pen.plot, i) ? open : sealed).rect(start, y, width, height);
  });
  fillBars(pen, sealed, open, s.color);
}

/**
 * Only the upper edge of the bars: levels, where filled bars over one another would look like a stack.
 * @param {Pen} pen
 * @param {Drawn} s
 * @param {{start: number, width: number}[]} spans
 */
function drawEdge(pen, s, spans) {
  const sealed = new Path2D();
  const open = new Path2D();
  s.values.forEach((value, i) => {
    if (value === null) return;
    const { start, width } = spans[i];
    const path = isOpen(pen.plot, i) ? open : sealed;
    const before = i > 0 ? s.values[i - 1] : null;
    const y = pen.y(value);
    path.moveTo(start, before === null ? y : pen.y(before));
    path.lineTo(start, y);
    path.lineTo(start + width, y);
  });
  strokeLines(pen, sealed, open, s.color);
}

/**
 * Side by side, or as edges where a bucket is too narrow for that.
 * @param {Pen} pen
 * @param {{start: number, width: number}[]} spans
 * @returns {Look}
 */
function drawGrouped(pen, spans) {
  const { visible } = pen.plot;
  const narrowest = spans.reduce((least, span) => Math.min(least, span.width), Infinity);
  if (narrowest / visible.length < NARROW * pen.ratio) {
    for (const s of visible) drawEdge(pen, s, spans);
    return 'edges';
  }
  visible.forEach((s, n) => drawBars(pen, s, (i) => {
    const { start, width } = spans[i];
    const left = Math.floor((n * width) / visible.length);
    return { start: start + left, width: Math.floor(((n + 1) * width) / visible.length) - left };
  }));
  return 'bars';
}

/**
 * A line through the middles of the buckets; broken where there was no event, dashed where it may still change.
 * @param {Pen} pen
 * @param {Drawn} s
 */
function drawLine(pen, s) {
  const { ctx, plot, ratio } = pen;
  const sealed = new Path2D();
  const open = new Path2D();
  const dots = new Path2D();
  const { values } = s;
  values.forEach((value, i) => {
    if (value === null) return;
    const x = pen.x(plot.times[i] + plot.step / 2);
    const y = pen.y(value);
    const before = i > 0 ? values[i - 1] : null;
    const after = values[i + 1] ?? null;
    if (before !== null) {
      const path = isOpen(plot, i) ? open : sealed;
      path.moveTo(pen.x(plot.times[i - 1] + plot.step / 2), pen.y(before));
      path.lineTo(x, y);
    } else if (after === null) {
      dots.moveTo(x, y);
      dots.arc(x, y, 2.5 * ratio, 0, 2 * Math.PI);
    }
  });
  ctx.fillStyle = s.color;
  ctx.fill(dots);
  strokeLines(pen, sealed, open, s.color);
}

/**
 * @param {CanvasRenderingContext2D} ctx
 * @param {Plot} plot
 * @param {Box} box  the plotting area, in device pixels
 * @param {number} ratio
 * @returns {Look}
 */
export function drawPlot(ctx, plot, box, ratio) {
  const perSecond = box.width / (plot.to - plot.from);
  const perUnit = box.height / (plot.high - plot.low);
  /** @type {Pen} */
  const pen = {
    ctx,
    plot,
    ratio,
    x: (time) => box.left + (time - plot.from) * perSecond,
    y: (value) => box.top + (plot.high - value) * perUnit,
  };
  ctx.save();
  ctx.beginPath();
  ctx.rect(box.left, box.top, box.width, box.height);
  ctx.clip();
  /** @type {Look} */
  let look = 'bars';
  if (plot.type === 'lines') {
    for (const s of plot.visible) drawLine(pen, s);
    look = 'lines';
  } else {
    const spans = plot.times.map((_, i) => bucketSpan(pen, i));
    if (plot.type !== 'stacked' && plot.visible.length > 1) look = drawGrouped(pen, spans);
    else for (const s of plot.visible) drawBars(pen, s, (i) => spans[i]);
  }
  ctx.restore();
  return look;
}
