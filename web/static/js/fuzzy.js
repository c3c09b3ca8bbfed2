/** Fuzzy search: the letters of the needle in order, the closer together and the nearer to a word's start the better. */

/**
 * @param {string} needle
 * @param {string} text
 * @returns {{score: number, at: number[]} | null} positions of the matched letters
 */
export function match(needle, text) {
  const n = needle.toLowerCase();
  const t = text.toLowerCase();
  const whole = t.indexOf(n);
  if (whole >= 0) {
    const at = Array.from({ length: n.length }, (_, i) => whole + i);
    return { score: 1000 - whole - t.length / 100, at };
  }
  const at = [];
  let score = 0;
  let from = 0;
  for (const letter of n) {
    const i = t.indexOf(letter, from);
    if (i < 0) return null;
    const startsWord = i === 0 || /[^a-z0-9]/.test(t[i - 1]);
    score += startsWord ? 8 : i === from ? 4 : -Math.min(4, i - from);
    at.push(i);
    from = i + 1;
  }
  return { score: score - t.length / 100, at };
}

/**
 * The matching items, best first; all of them in their own order for an empty needle.
 * @template T
 * @param {string} needle
 * @param {T[]} items
 * @param {(item: T) => string} text
 * @returns {{item: T, at: number[]}[]}
 */
export function search(needle, items, text) {
  if (needle === '') return items.map((item) => ({ item, at: [] }));
  return items
    .flatMap((item) => {
      const found = match(needle, text(item));
      return found ? [{ item, ...found }] : [];
    })
    .sort((a, b) => b.score - a.score);
}
