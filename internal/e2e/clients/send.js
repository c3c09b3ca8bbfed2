// Sends known counts with hot-shots: send.js HOST PORT N, with its modules in NODE_PATH.
'use strict';
const StatsD = require('hot-shots');

const [host, port, n] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];

// Each call is awaited, because a client that is closed early gives up on what is
// under way.
const call = (f) => new Promise((resolve, reject) => f((err) => (err ? reject(err) : resolve())));

async function send(name, options) {
  const client = new StatsD({
    host, port, prefix: `js.${name}.`, globalTags: { app: 'shop' }, errorHandler: (err) => { throw err; }, ...options,
  });
  for (let i = 0; i < n; i++) {
    const tags = { env: i % 2 ? 'dev' : 'prod', region: ['eu', 'us', 'ap'][i % 3] };
    const calls = [
      (done) => client.increment('hits', done),
      (done) => client.increment('orders', i, 1, tags, done),
      (done) => client.decrement('stock', 2, [`env:${tags.env}`, 'bare'], done),
      (done) => client.increment(['one', 'two'], 3, done),
    ].map(call);
    // A buffered call is only done once its buffer is sent, by a later call.
    if (!options.maxBufferSize) {
      await Promise.all(calls);
    }
  }
  await call((done) => client.close(done));
}

(async () => {
  await send('plain', {});
  await send('buffered', { maxBufferSize: 1400, bufferFlushInterval: 50 });
})();
