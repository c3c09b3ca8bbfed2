// Sends known events of every kind with hot-shots: send.js HOST PORT TCP ETSY UDS N,
// with its modules in NODE_PATH. ETSY is the UDP port of a listener of that dialect, UDS
// the path of a Unix socket, or empty to leave it out.
'use strict';
const StatsD = require('hot-shots');

const [host, , , , path] = process.argv.slice(2);
const [port, tcp, etsy, , n] = process.argv.slice(3).map(Number);

// Each call is awaited, because a client that is closed early gives up on what is
// under way.
const call = (f) => new Promise((resolve, reject) => f((err) => (err ? reject(err) : resolve())));

async function send(name, options) {
  const client = new StatsD({
    host, port, prefix: `js.${name}.`, globalTags: { app: 'shop' }, errorHandler: (err) => { throw err; }, ...options,
  });
  const now = Math.floor(Date.now() / 1000);
  for (let i = 0; i < n; i++) {
    const tags = { env: i % 2 ? 'dev' : 'prod', region: ['eu', 'us', 'ap'][i % 3] };
    const calls = [
      (done) => client.increment('hits', done),
      (done) => client.increment('orders', i, 1, tags, done),
      (done) => client.decrement('stock', 2, options.telegraf ? { env: tags.env } : [`env:${tags.env}`, 'bare'], done),
      (done) => client.increment(['one', 'two'], 3, done),
      (done) => client.gauge('level', i + 1.5, tags, done),
      (done) => client.timing('timing', i + 1, tags, done),
      (done) => client.histogram('histogram', i + 1, tags, done),
      (done) => client.distribution('distribution', i + 1, tags, done),
      (done) => client.set('set', `user:${i % 100}`, tags, done),
    ];
    if (i === 0 && !options.telegraf) { // which has none of these
      calls.push(
        (done) => client.increment('stamped', 5, { tags, timestamp: now - 300 }, done),
        (done) => client.gauge('measured', 4.25, { timestamp: now - 60 }, done),
        (done) => client.event('deploy', 'two\nlines', {
          date_happened: new Date(), hostname: 'h', aggregation_key: 'k', priority: 'low', source_type_name: 's', alert_type: 'warning',
        }, tags, done),
        (done) => client.check('disk', client.CHECKS.CRITICAL, { date_happened: new Date(), hostname: 'h', message: 'full' }, ['k:v'], done),
      );
    }
    const sent = calls.map(call);
    // A buffered call is only done once its buffer is sent, by a later call.
    if (!options.maxBufferSize) {
      await Promise.all(sent);
    }
  }
  await call((done) => client.close(done));
}

(async () => {
  await send('plain', {});
  await send('buffered', { maxBufferSize: 1400, bufferFlushInterval: 50 });
  await send('tcp', { protocol: 'tcp', port: tcp });
  await send('telegraf', { telegraf: true }); // tags in the name
  const changes = new StatsD({ host, port: etsy, prefix: 'js.', globalTags: { app: 'shop' }, errorHandler: (err) => { throw err; } });
  await call((done) => changes.gauge('changed', 100, done));
  await call((done) => changes.gaugeDelta('changed', 20, done));
  await call((done) => changes.gaugeDelta('changed', -50.5, done));
  await call((done) => changes.close(done));
  if (path !== '') {
    await send('uds', { protocol: 'uds', path });
  }
})();
