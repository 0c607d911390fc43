/** The first page: signs in, then shows what to go on with, what is popular, and all titles. */

import { account, returnAddress } from "./account.js";
import { getHome, listTitles, login, logout } from "./api.js";
import { catalogCard, goingOnCard, rowCard } from "./card.js";
import { byId, showError } from "./elements.js";

// The server gives up a slow row after a second. Rows that come later than this are left out: they
// would push the catalog away from under whoever reads it.
const HOME_MS = 2_000;
const SEARCH_AFTER_MS = 250; // since the last key

let turn = 0; // counts lists: an answer to an earlier one is void
let typing = 0; // the timer since the last key

function showSignIn() {
  account.signOut();
  turn += 1;
  clearTimeout(typing);
  byId("main").removeAttribute("aria-busy");
  byId("catalog").hidden = true;
  byId("home").hidden = true;
  byId("sign-out").hidden = true;
  byId("search").hidden = true;
  byId("q").value = "";
  byId("sign-in").hidden = false;
  byId("name").focus();
}

/** Shows a home row with these cards; one without any is not there. */
function showRow(id, cards) {
  byId(id).replaceChildren(...cards);
  byId(id).closest("section").hidden = cards.length === 0;
}

/** What to go on with, and what is popular; nothing of it, when it cannot be had. */
async function home() {
  const late = new Promise((resolve) => setTimeout(resolve, HOME_MS, null));
  return Promise.race([getHome().catch(() => null), late]);
}

function showHome(rows) {
  showRow("going-on", rows?.continue_watching.map(goingOnCard) ?? []);
  showRow("popular", rows?.popular.map(rowCard) ?? []);
  byId("home").hidden = false;
}

function showTitles({ titles, next_cursor: next }, q) {
  byId("titles").append(...titles.map(catalogCard));
  const count = byId("titles").childElementCount;
  byId("empty").hidden = count > 0 || q !== "";
  byId("found").textContent = q === "" ? "" : found(count, next);
  byId("more").hidden = !next;
  byId("more").onclick = () => showMore(q, next);
  showError(byId("error"), null);
}

const found = (count, next) =>
  count === 0 ? "No title fits." : `${count}${next ? " or more" : ""} found`;

/** Runs what fills the page, and shows what goes wrong, unless another list was asked for since. */
async function busily(work) {
  const mine = turn;
  byId("main").setAttribute("aria-busy", "true");
  try {
    const show = await work();
    if (mine === turn) show();
  } catch (error) {
    if (mine !== turn) return;
    if (error.signedOut) showSignIn();
    else showError(byId("error"), error);
  } finally {
    if (mine === turn) byId("main").removeAttribute("aria-busy");
  }
}

/** The first titles that `q` finds; all, and the home rows above them, when it is empty. */
function showList(q) {
  turn += 1;
  return busily(async () => {
    const [rows, page] = await Promise.all([q === "" ? home() : null, listTitles(q, null)]);
    return () => {
      if (q === "") showHome(rows);
      else byId("home").hidden = true;
      byId("titles").replaceChildren();
      showTitles(page, q);
      byId("catalog").hidden = false; // not before: the rows would push it down
    };
  });
}

async function showMore(q, cursor) {
  byId("more").disabled = true;
  await busily(async () => {
    const page = await listTitles(q, cursor);
    return () => showTitles(page, q);
  });
  byId("more").disabled = false;
}

function showCatalog() {
  const elsewhere = returnAddress();
  if (elsewhere) {
    location.replace(elsewhere);
    return;
  }
  byId("sign-in").hidden = true;
  byId("sign-out").hidden = false;
  byId("search").hidden = false;
  showList(query());
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

const query = () => byId("q").value.trim();
byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  showList(query());
});
byId("q").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => showList(query()), SEARCH_AFTER_MS);
});

// Who goes through a row by keyboard sees the whole card; browsers are content with a part.
for (const id of ["going-on", "popular"]) {
  byId(id).addEventListener("focusin", ({ target }) => {
    target.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
}

// Back from the player, from the browser's memory: what to go on with is another by now.
addEventListener("pageshow", async (event) => {
  if (!event.persisted || byId("catalog").hidden || query() !== "") return;
  const mine = turn;
  const rows = await home();
  if (rows && mine === turn) showHome(rows);
});

if (account.token) showCatalog();
else showSignIn();
