/** A button with a panel under it. Esc and a click elsewhere close it; Esc gives the focus back. */
import { html, useEffect, useId, useRef } from './lib.js';

/**
 * @param {{open: boolean, onToggle: (open: boolean) => void, label: any, title: string, pressed?: boolean, testid?: string, children?: any}} props
 */
export function Popover({ open, onToggle, label, title, pressed = false, testid, children }) {
  const root = useRef(/** @type {HTMLElement | null} */ (null));
  const button = useRef(/** @type {HTMLElement | null} */ (null));
  const id = useId();
  useEffect(() => {
    if (!open) return undefined;
    /** @param {Event} event */
    const outside = (event) => {
      // A click may have removed its own target from the page, so the path counts, not the ancestors.
      if (root.current && !event.composedPath().includes(root.current)) onToggle(false);
    };
    document.addEventListener('pointerdown', outside);
    /** @type {HTMLElement | null | undefined} */ (root.current?.querySelector('[data-autofocus]'))?.focus();
    return () => document.removeEventListener('pointerdown', outside);
  }, [open]);
  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    if (event.key !== 'Escape' || !open) return;
    event.stopPropagation();
    onToggle(false);
    button.current?.focus();
  };
  return html`<div class="popover" ref=${root} onKeyDown=${onKeyDown}>
    <button type="button" class="button" ref=${button} data-testid=${testid} aria-expanded=${String(open)} aria-controls=${id}
      aria-pressed=${pressed ? 'true' : null} onClick=${() => onToggle(!open)}>${label}</button>
    ${open && html`<div class="panel" id=${id} role="dialog" aria-label=${title}>${children}</div>`}
  </div>`;
}
