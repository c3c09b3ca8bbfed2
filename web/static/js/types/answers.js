/**
 * The shapes of the API's answers (docs: GET /api/query and its siblings). Times are Unix seconds.
 *
 * @typedef {{version: string, started: number, now: number, udp: string[], uds: string[], tcp: string[], http: string, grace: number}} Status
 * A name with two kinds is two metrics, in `conflict`; `overflow` is that a limit folded tagsets.
 * @typedef {{metric: string, kind: string, series: number, last_seen: number, conflict: boolean, overflow: boolean}} Metric
 * @typedef {{value: string, series: number}} TagValue
 * @typedef {{key: string, values: TagValue[]}} Tag
 * @typedef {Record<string, string | string[]>} Tags
 * @typedef {{tags: Tags, values: (number | null)[], total: number | null, min: number | null, max: number | null, last: number | null}} Series
 *
 * The series with the most events in the complete seconds [from, to); `rate` is events a second (GET /api/hot).
 * @typedef {{metric: string, kind: string, tags: Tags, events: number, rate: number, share: number}} HotSeries
 * @typedef {{from: number, to: number, events: number, rate: number, series: HotSeries[]}} Hot
 *
 * What turns an answer into the next one (docs/streams.md).
 * @typedef {{at: number, since?: number, values?: (number | null)[], tags?: Tags, total?: number | null, min?: number | null, max?: number | null, last?: number | null}} Change
 * @typedef {Omit<Result, 'series'> & {dropped: number, order?: number[], series: Change[]}} Delta
 *
 * A query's answer. `times` are the starts of the buckets; null is a bucket without an event. A bucket
 * that ends after `sealed_until` (the watermark) is open. `total` is the function over the whole range and all
 * matched series, that of rate the count; null where there is nothing to read it from.
 * @typedef {{metric: string, kind: string, fn: string, from: number, to: number, step: number, tier: string,
 *   sealed_until: number, times: number[], series: Series[], total: number | null, series_matched: number,
 *   truncated: boolean, warnings: string[]}} Result
 *
 * What became of every event (GET /api/quality; docs/metrics.md describes each field). A counts object is by reason.
 * @typedef {Record<string, number>} Counts
 * @typedef {{imbalance: number, faults: string[], checked_at: number, since: number, received: number, accepted: number,
 *   noted: number, rejected: Counts, shed: Counts, duplicate: number, kernel_dropped: number, amended: number,
 *   recovered: number, open: number, flushing: number, stored: number, lost: number}} Ledger
 * @typedef {{ledger: Ledger, ingestion_lag: {journaled_s: number | null, stored_s: number}, flush: {last_ms: number},
 *   fsync: {p99_ms: number}, journal: {bytes: number, damaged: string[]},
 *   disk: {free: number | null, floor: number, short: boolean}, replay: {running: boolean}}} Quality
 *
 * What the store takes (GET /api/storage), in bytes. Until `as_of` is there, nothing was counted.
 * @typedef {{tier: string, kept_s: number, bytes: number, oldest: number | null, bytes_per_sample: number | null}} StoredTier
 * @typedef {{metric: string, kind: string, series: number, bytes: number}} StoredMetric
 * @typedef {{tiers: StoredTier[], index_bytes: number, other_bytes: number, log_bytes: number, file_bytes: number,
 *   journal_bytes: number, total_bytes: number, as_of: number | null, metrics_total: number, metrics: StoredMetric[],
 *   damaged: string[]}} Storage
 */
export {};
