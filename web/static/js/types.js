/**
 * The shapes of the API's answers (docs: GET /api/query and its siblings). Times are Unix seconds.
 *
 * @typedef {{version: string, started: number, now: number, udp: string[], uds: string[], tcp: string[], http: string, grace: number}} Status
 * @typedef {{metric: string, kind: string, series: number, last_seen: number}} Metric
 * @typedef {{value: string, series: number}} TagValue
 * @typedef {{key: string, values: TagValue[]}} Tag
 * @typedef {Record<string, string | string[]>} Tags
 * @typedef {{tags: Tags, values: (number | null)[], total: number, min: number | null, max: number | null, last: number | null}} Series
 *
 * A query's answer. `times` are the starts of the buckets; null is a bucket without an event. A bucket
 * that ends after `sealed_until` (the watermark) is open. `total` covers all matched series.
 * @typedef {{metric: string, kind: string, fn: string, from: number, to: number, step: number, tier: string,
 *   sealed_until: number, times: number[], series: Series[], total: number, series_matched: number,
 *   truncated: boolean, warnings: string[]}} Result
 */
export {};
