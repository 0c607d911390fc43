/** A title as a card: its picture, its name, and what a person should know of it. */

import { element } from "./elements.js";
import { duration, height, left } from "./units.js";

const HUES = 360;

/** A hue that stays the same for a title, so that people find its card again. */
function hueOf(titleId) {
  let hash = 0;
  for (const character of titleId) hash = (hash * 31 + character.codePointAt(0)) % HUES;
  return hash;
}

/** Whether a title plays; of one that does not, what a person should know of its state, and why it
 * is so. */
function stateOf(title) {
  if (!title.package_id) {
    const { state, why } = title.encode ?? {};
    if (state === "refused") return { word: "Encode refused", kind: "failed", why, plays: false };
    if (state === "failed") return { word: "Encode failed", kind: "failed", why, plays: false };
    return { word: "Not encoded yet", kind: "waiting", plays: false };
  }
  if (title.state === "draft") return { word: "Not published", kind: "draft", plays: false };
  return { plays: true };
}

/** The picture over a coloured tile, which stays where there is no picture, or none can be had. Its
 * size is said, so that nothing moves when it comes; the name stands beside it, so it says none. */
function poster(title) {
  const tile = element("span", { class: "poster", "aria-hidden": "true" });
  tile.style.setProperty("--hue", hueOf(title.title_id));
  if (!title.artwork_url) return tile;
  const attributes = { alt: "", width: 640, height: 360, loading: "lazy", decoding: "async" };
  const picture = element("img", { ...attributes, src: title.artwork_url });
  picture.addEventListener("load", () => tile.classList.add("pictured"));
  picture.addEventListener("error", () => picture.remove());
  tile.append(picture);
  return tile;
}

/** As much of the film as was watched, as a bar on its picture. */
function progress(part) {
  const bar = element("span", { class: "progress" });
  bar.style.setProperty("--part", Math.min(1, Math.max(0, part || 0)));
  return bar;
}

function item(title, plays, picture, ...lines) {
  const text = element("span", { class: "card-text" }, ...lines);
  const where = `player.html?title=${encodeURIComponent(title.title_id)}&autoplay=1`;
  const body = plays
    ? element("a", { class: "card", href: where }, picture, text)
    : element("div", { class: "card" }, picture, text);
  return element("li", { "data-title": title.title_id }, body);
}

const nameOf = (title) => element("span", { class: "card-name" }, title.name);
const factsOf = (...facts) => element("span", { class: "facts" }, facts.join(" · "));

/** A title of the catalog, with its state. */
export function catalogCard(title) {
  const { word, kind, why, plays } = stateOf(title);
  return item(
    title,
    plays,
    poster(title),
    nameOf(title),
    title.package_id && factsOf(duration(title.duration_s), height(title.max_height)),
    plays ? null : element("span", { class: `state ${kind}` }, word),
    why ? factsOf(why) : null,
  );
}

/** A title of a home row. */
export function rowCard(title) {
  const facts = factsOf(duration(title.duration_s), height(title.max_height));
  return item(title, stateOf(title).plays, poster(title), nameOf(title), facts);
}

/** One that somebody is in the middle of; the player goes on there by itself. */
export function goingOnCard({ title, position_s }) {
  const picture = poster(title);
  picture.append(progress(position_s / title.duration_s));
  const facts = factsOf(left(title.duration_s - position_s));
  return item(title, stateOf(title).plays, picture, nameOf(title), facts);
}
