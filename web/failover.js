/**
 * Failover of whole pathways, and of requests that hang half-way.
 *
 * hls.js answers a failed fragment with a retry or with another level of the same appliance, and
 * moves to the next pathway when all that has failed; on a hung appliance each attempt costs a
 * time-out. Here the appliance is at fault at once, and the level stays. hls.js also blames the
 * pathway it has just moved to for a request to the old one that fails a moment later, and then
 * has none left; here that request is only repeated.
 */

// Values of hls.js's NetworkErrorAction and ErrorActionFlags, which its script does not export.
const PENALTY_BOX = 2;
const RETRY = 5;
const WHOLE_PATHWAY = 1;

const DELIVERY_FAILURES = new Set([
  "fragLoadError",
  "fragLoadTimeOut",
  "levelLoadError",
  "levelLoadTimeOut",
  "audioTrackLoadError",
  "audioTrackLoadTimeOut",
]);

const AT_ONCE = { maxNumRetry: 1, retryDelayMs: 0, maxRetryDelayMs: 0 };

// hls.js has time-outs for the first byte and for the whole, none for a body that stops coming.
const MAX_SILENCE_MS = 2_500;

/** Whether the fragment was asked of another appliance than the one in use now. */
function isLate(hls, frag) {
  const inUse = hls.loadLevelObj?.uri;
  return Boolean(frag && inUse) && new URL(frag.url).origin !== new URL(inUse).origin;
}

/** hls.js's error controller with these two changes; for `new Hls({errorController: …})`. */
export function pathwayFirst(Hls) {
  return class extends Hls.DefaultConfig.errorController {
    onError(event, data) {
      const isDelivery = !data.fatal && DELIVERY_FAILURES.has(data.details);
      if (isDelivery && isLate(this.hls, data.frag)) {
        data.errorAction = { action: RETRY, flags: 0, retryConfig: AT_ONCE, retryCount: 0 };
        return;
      }
      super.onError(event, data);
      const { errorAction: chosen } = data;
      // Offline, no appliance is at fault: hls.js waits for the network.
      if (!isDelivery || !chosen || !navigator.onLine || this.hls.pathways.length < 2) return;
      chosen.action = PENALTY_BOX;
      chosen.flags |= WHOLE_PATHWAY;
    }
  };
}

/** Ends a request whose body has stopped coming; for `new Hls({xhrSetup: …})`. */
export function endSilence(request) {
  let timer = null;
  const listen = () => {
    clearTimeout(timer);
    timer = setTimeout(() => request.abort(), MAX_SILENCE_MS);
  };
  request.addEventListener("progress", listen);
  request.addEventListener("readystatechange", () => {
    if (request.readyState === XMLHttpRequest.HEADERS_RECEIVED) listen();
  });
  request.addEventListener("loadend", () => clearTimeout(timer));
}
