/** Parts of the page that are loaded when they are first needed, so that the first paint need not wait for them. */
import { signal } from './lib.js';

const RETRY = 1000;

/**
 * @param {() => Promise<any>} load  loads a component
 * @returns {{component: {value: any}, ensure: () => () => void}} component is null until it is loaded; ensure
 *   begins to load it, and again while the server is away, until the function that it returns is called
 */
export function lazy(load) {
  const component = signal(/** @type {any} */ (null));
  const ensure = () => {
    let stopped = false;
    /** @type {number | undefined} */
    let timer;
    const run = async () => {
      try {
        component.value = await load();
      } catch {
        if (!stopped) timer = setTimeout(run, RETRY);
      }
    };
    if (component.peek() === null) run();
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  };
  return { component, ensure };
}
