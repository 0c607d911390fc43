/**
 * Who is signed in: tokens that all tabs of this browser share, until somebody signs out.
 *
 * An access token lives for minutes; the refresh token gets the next one, and is replaced each time.
 * A page opened with `#token=…` is signed in by that access token, for as long as it lives, in its
 * own tab only. The fragment never reaches a server, and it leaves the address (and the history)
 * before anything else runs.
 */

const TAB_TOKEN = "nearcast.token";
const TOKENS = "nearcast.tokens";
const EARLY_MS = 30_000; // before its end an access token is replaced

/** Moves a token from the address to the tab's storage; true when there was one. */
function takeFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return false;
  history.replaceState(null, "", location.pathname + location.search);
  sessionStorage.setItem(TAB_TOKEN, token);
  return true;
}

takeFromAddress();
// The same address pasted into an open tab changes the fragment only.
addEventListener("hashchange", () => takeFromAddress() && location.reload());

/** `{access_token, expires_at, refresh_token}`, or null. */
function stored() {
  try {
    return JSON.parse(localStorage.getItem(TOKENS));
  } catch {
    return null; // what somebody else wrote there
  }
}

export const account = {
  /** The access token, or null. */
  get token() {
    return sessionStorage.getItem(TAB_TOKEN) ?? stored()?.access_token ?? null;
  },

  /** The refresh token, once its access token is about to end; null while that lasts, or when there
   * is none. */
  get due() {
    if (sessionStorage.getItem(TAB_TOKEN)) return null;
    const tokens = stored();
    if (!tokens?.refresh_token) return null;
    return Date.parse(tokens.expires_at) - Date.now() < EARLY_MS ? tokens.refresh_token : null;
  },

  /** Takes the answer to a log-in or a refresh. */
  signIn(tokens) {
    sessionStorage.removeItem(TAB_TOKEN);
    localStorage.setItem(TOKENS, JSON.stringify(tokens));
  },

  signOut() {
    sessionStorage.removeItem(TAB_TOKEN);
    localStorage.removeItem(TOKENS);
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
