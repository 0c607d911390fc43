/** What the page shows of a play: the overlay's values, and the ranked pathways. */

import { byId, element } from "./elements.js";
import { bitrate, height, place, seconds } from "./units.js";

// Why steering passed an appliance over.
const SKIPPED = { H: "Health", C: "Content", D: "Draining", L: "Load" };

const DASH = "–";

// One row of the overlay: the id of its value, and how `stats()` reads there.
const ROWS = {
  "stat-appliance": (s) => s.appliance_id ?? DASH,
  "stat-place": (s) => (s.site ? place(s) : DASH),
  "stat-quality": (s) => (s.height ? `${height(s.height)} · ${bitrate(s.bitrate_bps)}` : DASH),
  "stat-buffer": (s) => seconds(s.buffer_s),
  "stat-throughput": (s) => bitrate(s.throughput_bps),
  "stat-stalls": (s) => (s.stalls ? `${s.stalls} (${seconds(s.stalled_s)})` : "0"),
  "stat-failovers": (s) => String(s.failovers),
};

/** Writes `stats()` into the overlay; text that stays is not touched. */
export function showStats(stats) {
  for (const [id, text] of Object.entries(ROWS)) {
    const value = text(stats);
    if (byId(id).textContent !== value) byId(id).textContent = value;
  }
  byId("stat-stalls").classList.toggle("bad", stats.stalls > 0);
}

/** Lists the session's pathways, best first; `serving` is marked, those that failed as well. */
export function showPathways(session, serving, left) {
  byId("pathways").replaceChildren(
    ...session.pathways.map((pathway) =>
      pathwayItem(pathway, pathway === serving, left.has(pathway.appliance_id)),
    ),
  );
  const skipped = session.skipped ?? [];
  byId("skipped-box").hidden = skipped.length === 0;
  byId("skipped").replaceChildren(
    ...skipped.map(({ appliance_id: id, code, why }) =>
      element("li", {}, element("b", {}, id), ` ${SKIPPED[code] ?? code}: ${why}`),
    ),
  );
}

function pathwayItem(pathway, serves, failed) {
  const badge = serves ? ["badge serving", "Serving"] : failed ? ["badge failed", "Failed"] : null;
  const item = element(
    "li",
    { "data-appliance": pathway.appliance_id },
    element(
      "div",
      { class: "pathway-head" },
      element("b", {}, pathway.appliance_id),
      badge && element("span", { class: badge[0] }, badge[1]),
    ),
    element("div", { class: "facts" }, place(pathway)),
    element(
      "ul",
      { class: "reasons", "aria-label": "Reasons" },
      ...pathway.reasons.map((reason) => element("li", {}, reason)),
    ),
    element("div", { class: "facts score" }, `score ${pathway.score.toFixed(2)}`),
  );
  if (serves) item.setAttribute("aria-current", "true");
  return item;
}
