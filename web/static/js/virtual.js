/** Long lists: only the rows near the window are on the page. */
import { useEffect, useLayoutEffect, useRef, useState } from './lib.js';

/** Rows beyond the window's edges, so that scrolling does not show their absence. */
const BEYOND = 6;

/**
 * Which rows of a list to render. The list scrolls with the page.
 * @param {number} count  rows
 * @param {number} height  of a row, in pixels
 * @returns {{box: {current: HTMLElement | null}, width: number, first: number, end: number, above: number, below: number}}
 *   box is for the list; rows [first, end) are to be rendered, with above and below them so many pixels of nothing
 */
export function useRows(count, height) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const [at, setAt] = useState({ first: 0, end: 0, width: 0 });
  const measure = () => {
    if (box.current === null) return;
    const { top, width } = box.current.getBoundingClientRect();
    const first = Math.max(0, Math.floor(-top / height) - BEYOND);
    const end = Math.max(first, Math.ceil((innerHeight - top) / height) + BEYOND);
    setAt((old) => (old.first === first && old.end === end && old.width === width ? old : { first, end, width }));
  };
  useLayoutEffect(measure);
  useEffect(() => {
    addEventListener('scroll', measure, { passive: true });
    addEventListener('resize', measure);
    return () => {
      removeEventListener('scroll', measure);
      removeEventListener('resize', measure);
    };
  }, [height]);
  const first = Math.min(at.first, count);
  const end = Math.min(Math.max(at.end, first), count);
  return { box, width: at.width, first, end, above: first * height, below: (count - end) * height };
}
