/** The hls.js configuration of a play: the session's, then the address's. */

// What a test or a curious person may set in the address (`?maxBufferLength=6`).
const OVERRIDES = [
  "abrEwmaDefaultEstimate",
  "backBufferLength",
  "maxBufferLength",
  "maxBufferSize",
  "maxMaxBufferLength",
  "startLevel",
];

/** The overrides in a query. Numbers only; anything else is left out. */
export function overrides(query) {
  const found = {};
  for (const name of OVERRIDES) {
    const value = Number.parseFloat(query.get(name) ?? "");
    if (Number.isFinite(value)) found[name] = value;
  }
  // hls.js fills maxBufferSize bytes when that is more than maxBufferLength seconds; only
  // maxMaxBufferLength really bounds the buffer.
  if ("maxBufferLength" in found) found.maxMaxBufferLength ??= found.maxBufferLength;
  return found;
}

/**
 * The configuration for `new Hls(…)`: from `position` (seconds) on, in the quality that
 * `throughput` (bits per second) allows; null when nothing is known of it.
 */
export function hlsConfig(session, query, position, throughput) {
  return {
    ...session.player_settings?.hlsjs,
    ...(throughput && { abrEwmaDefaultEstimate: throughput }),
    ...overrides(query),
    startPosition: position,
  };
}
