/** The first page: signs in, then lists the titles. */

import { account, returnAddress } from "./account.js";
import { listTitles, login, logout } from "./api.js";
import { byId, element, showError } from "./elements.js";
import { duration, height } from "./units.js";

const HUES = 360;

/** A hue that stays the same for a title, so that people find its card again. */
function hueOf(titleId) {
  let hash = 0;
  for (const character of titleId) hash = (hash * 31 + character.codePointAt(0)) % HUES;
  return hash;
}

/** What a person should know of a title's state, why it is so, and whether it plays. */
function stateOf(title) {
  if (!title.package_id) {
    const { state, why } = title.encode ?? {};
    if (state === "refused") return { word: "Encode refused", kind: "failed", why, plays: false };
    if (state === "failed") return { word: "Encode failed", kind: "failed", why, plays: false };
    return { word: "Not encoded yet", kind: "waiting", plays: false };
  }
  if (title.state === "draft") return { word: "Not published", kind: "draft", plays: false };
  return { word: "Published", kind: "ready", plays: true };
}

function card(title) {
  const state = stateOf(title);
  const facts = `${duration(title.duration_s)} · ${height(title.max_height)}`;
  const poster = element("span", { class: "poster", "aria-hidden": "true" });
  poster.style.setProperty("--hue", hueOf(title.title_id));
  const text = element(
    "span",
    { class: "card-text" },
    element("span", { class: "card-name" }, title.name),
    title.package_id && element("span", { class: "facts" }, facts),
    element("span", { class: `state ${state.kind}` }, state.word),
    state.why ? element("span", { class: "facts" }, state.why) : null,
  );
  const where = `player.html?title=${encodeURIComponent(title.title_id)}&autoplay=1`;
  const body = state.plays
    ? element("a", { class: "card", href: where }, poster, text)
    : element("div", { class: "card" }, poster, text);
  return element("li", { "data-title": title.title_id }, body);
}

function showSignIn() {
  account.signOut();
  byId("catalog").hidden = true;
  byId("sign-out").hidden = true;
  byId("sign-in").hidden = false;
  byId("name").focus();
}

async function showPage(cursor) {
  byId("catalog").setAttribute("aria-busy", "true");
  try {
    const { titles, next_cursor: next } = await listTitles(cursor);
    byId("titles").append(...titles.map(card));
    byId("empty").hidden = byId("titles").childElementCount > 0;
    byId("more").hidden = !next;
    byId("more").onclick = () => showPage(next);
    showError(byId("error"), null);
  } catch (error) {
    if (error.signedOut) showSignIn();
    else showError(byId("error"), error);
  } finally {
    byId("catalog").removeAttribute("aria-busy");
  }
}

function showCatalog() {
  const elsewhere = returnAddress();
  if (elsewhere) {
    location.replace(elsewhere);
    return;
  }
  byId("sign-in").hidden = true;
  byId("catalog").hidden = false;
  byId("sign-out").hidden = false;
  byId("titles").replaceChildren();
  showPage(null);
}

byId("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    account.signIn(await login(form.elements.name.value.trim(), form.elements.password.value));
    form.reset();
    showError(byId("error"), null);
    showCatalog();
  } catch (error) {
    showError(byId("error"), error);
    form.elements.password.select();
  } finally {
    button.disabled = false;
  }
});

byId("sign-out").addEventListener("click", () => {
  logout(); // before the page forgets whom it speaks for
  showSignIn();
});

if (account.token) showCatalog();
else showSignIn();
