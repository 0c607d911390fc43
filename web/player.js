/** The player page: one title, its region menu, and what delivers it. */

import { account, askToSignIn } from "./account.js";
import { ApiError, getTitle, listRegions, logout } from "./api.js";
import { byId, element, showError } from "./elements.js";
import { Journal } from "./journal.js";
import { showPathways, showStats } from "./overlay.js";
import { Playback } from "./playback.js";

const REFRESH_MS = 250;
const TITLE_ID = /^ttl_[0-9a-z]{26}$/;

const { Hls } = window;
const query = new URLSearchParams(location.search);
const titleId = query.get("title") ?? "";
const video = byId("video");
const journal = new Journal();
const playback = new Playback({ Hls, video, journal, query, titleId });

/** For tests, and for the curious at the console. */
window.nearcast = {
  events: journal.events,
  get session() {
    return playback.session;
  },
  get hls() {
    return playback.hls;
  },
  stats: () => playback.stats(),
};

function show(error) {
  if (error?.signedOut) {
    askToSignIn();
    return;
  }
  // Without a title there is nothing to look at, and nothing to try again.
  const isLost = error?.code === "unknown_title";
  byId("theatre").hidden = isLost;
  showError(byId("error"), isLost ? { message: error.message } : error);
  if (error) byId("error").append(isLost ? catalogLink() : againButton());
}

function againButton() {
  const button = element("button", { type: "button" }, "Try again");
  button.addEventListener("click", () => open(true));
  return button;
}

const catalogLink = () => element("a", { class: "button", href: "./" }, "To the catalog");

async function open(play) {
  show(null);
  const region = byId("region");
  region.setAttribute("aria-busy", "true");
  try {
    await playback.open(region.value, { play });
  } catch (error) {
    show(error);
  } finally {
    region.removeAttribute("aria-busy");
  }
}

/** Fills the menu; it stays hidden where regions are not simulated. */
async function showRegions() {
  const wanted = query.get("region") ?? "";
  const known = await listRegions();
  const names = wanted && !known.includes(wanted) ? [wanted, ...known] : known;
  byId("region").append(...names.map((name) => element("option", { value: name }, name)));
  byId("region").value = wanted;
  byId("region-field").hidden = names.length === 0;
}

async function showTitle() {
  const { name } = await getTitle(titleId);
  byId("name").textContent = name;
  document.title = `${name} – Nearcast`;
}

function showServing() {
  const { session, serving, left } = playback;
  showPathways(session, serving, left);
  byId("ranking").hidden = false;
  if (serving) {
    byId("status").textContent = `Served by ${serving.appliance_id} (${serving.site}).`;
  }
}

function setDetails(shown) {
  byId("overlay").hidden = !shown;
  byId("details").setAttribute("aria-pressed", String(shown));
}

async function start() {
  if (!account.token) {
    askToSignIn();
    return;
  }
  if (!TITLE_ID.test(titleId)) {
    show(new ApiError(404, { code: "unknown_title", detail: "The address names no title." }));
    return;
  }
  if (!Hls) {
    show(new Error("The player's script is missing on the server: run `make` there."));
    return;
  }
  if (!Hls.isSupported()) {
    show(new Error("This browser cannot play the film: it has no Media Source Extensions."));
    return;
  }
  video.muted = query.get("muted") === "1";
  // Neither the name nor the menu is needed to play.
  showTitle().catch(() => {});
  await showRegions().catch(() => {});
  await open(query.get("autoplay") === "1");
}

byId("region").addEventListener("change", () => {
  query.set("region", byId("region").value);
  if (!byId("region").value) query.delete("region");
  history.replaceState(null, "", `${location.pathname}?${query}`);
  open(!video.paused && !video.ended);
});
byId("details").addEventListener("click", () => setDetails(byId("overlay").hidden));
byId("sign-out").addEventListener("click", () => {
  playback.end();
  logout();
  account.signOut();
  location.assign("./");
});
playback.addEventListener("session", showServing);
playback.addEventListener("pathway", showServing);
playback.addEventListener("failed", (event) => show(event.detail));
// A page that is hidden may never be heard of again: on phones it ends without another word. One
// that a browser keeps to come back to keeps its session.
document.addEventListener("visibilitychange", () => document.hidden && playback.tell());
addEventListener("pagehide", (event) => (event.persisted ? playback.tell() : playback.end()));
setInterval(() => showStats(playback.stats()), REFRESH_MS);
start();
