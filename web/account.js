/**
 * Who is signed in: an access token that lives as long as the tab.
 *
 * A page opened with `#token=…` is signed in by it. The fragment never reaches a server, and it
 * leaves the address (and the history) before anything else runs.
 */

const TOKEN = "nearcast.token";

/** Moves a token from the address to the tab's storage; true when there was one. */
function takeFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return false;
  history.replaceState(null, "", location.pathname + location.search);
  sessionStorage.setItem(TOKEN, token);
  return true;
}

takeFromAddress();
// The same address pasted into an open tab changes the fragment only.
addEventListener("hashchange", () => takeFromAddress() && location.reload());

export const account = {
  /** The token, or null. */
  get token() {
    return sessionStorage.getItem(TOKEN);
  },

  signIn(token) {
    sessionStorage.setItem(TOKEN, token);
  },

  signOut() {
    sessionStorage.removeItem(TOKEN);
  },
};

/** Leaves for the sign-in page, which comes back to this one. */
export function askToSignIn() {
  account.signOut();
  location.replace(`./?next=${encodeURIComponent(location.pathname + location.search)}`);
}

/** Where to go after signing in: an address of this origin, or null. */
export function returnAddress() {
  const next = new URLSearchParams(location.search).get("next");
  if (!next) return null;
  const url = URL.canParse(next, location.href) ? new URL(next, location.href) : null;
  return url?.origin === location.origin ? url.href : null;
}
