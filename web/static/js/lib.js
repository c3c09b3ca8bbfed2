/** The libraries, gathered so that no other module knows where they are vendored. */
import htm from '../vendor/htm.js';
import { h } from '../vendor/preact.js';

export { render } from '../vendor/preact.js';
export { useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from '../vendor/hooks.js';
export { batch, computed, effect, signal, untracked } from '../vendor/signals.js';

export const html = htm.bind(h);
