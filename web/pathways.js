/** Pathways: the ranked appliances of a session, and which of them an address belongs to. */

/** The pathway whose appliance serves `url`, or null. */
export function pathwayOf(url, pathways) {
  return pathways.find((pathway) => url.startsWith(`${pathway.url.replace(/\/$/, "")}/`)) ?? null;
}
