/** The first visit: nothing has arrived yet, and one line changes that. */
import { html, useState } from './lib.js';
import { status } from './data.js';

/**
 * Host and port from a listen address; an address that means "everywhere" becomes the host of this page.
 * @param {string} address
 */
export function target(address) {
  const at = address.lastIndexOf(':');
  const host = address.slice(0, at).replace(/^\[|\]$/g, '');
  const everywhere = host === '' || host === '0.0.0.0' || host === '::';
  const page = location.hostname.replace(/^\[|\]$/g, '');
  return { host: everywhere ? (page === 'localhost' ? '127.0.0.1' : page) : host, port: address.slice(at + 1) };
}

/**
 * Copies without the clipboard API, which plain http on another host does not have.
 * @param {string} text
 */
function copyOldWay(text) {
  const area = document.createElement('textarea');
  area.value = text;
  area.className = 'offscreen';
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  return done;
}

/** @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyOldWay(text);
  }
}

/** @param {{text: string, id?: string, hint: string}} props */
function Line({ text, id, hint }) {
  const [said, setSaid] = useState('Copy');
  const onClick = async () => {
    setSaid((await copy(text)) ? 'Copied' : 'Select and copy');
    setTimeout(() => setSaid('Copy'), 2000);
  };
  return html`<div class="line"><div class="label">${hint}</div>
    <div class="line-box"><code id=${id}>${text}</code><button type="button" class="button" onClick=${onClick} aria-live="polite">${said}</button></div></div>`;
}

/** What to do while there is no data. */
export function Empty() {
  const s = status.value;
  const event = "printf 'signups:1|c|#env:prod'";
  const to = s && s.udp.length > 0 ? target(s.udp[0]) : null;
  return html`<section id="empty" class="empty">
    <h1>No events yet</h1>
    <p>Cairn is running and takes counters, gauges, timings and sets. Send one event from a shell; its chart appears here by itself.</p>
    ${to && html`<${Line} id="send-line" hint="bash" text=${`${event} > /dev/udp/${to.host}/${to.port}`} />
      <${Line} hint="any shell, with nc" text=${`${event} | nc -u -w0 ${to.host} ${to.port}`} />`}
    ${s && !to && html`<p>This Cairn listens on no UDP address. Start it with <code>--udp 127.0.0.1:8125</code>.</p>`}
    <p class="muted">${to ? `Listening on UDP ${s?.udp.join(', ')}. Any StatsD client can send there.` : ''}</p>
  </section>`;
}
