/** The control plane's API, as the pages use it. */

import { account } from "./account.js";

// Longer than steering's own time-outs behind it, so that its answer arrives first.
const TIMEOUT_MS = 15_000;

/** An answer that says no. `code` is stable (RFC 9457 with our `code`), the message is for people. */
export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The server answered ${status}.`);
    this.status = status;
    this.code = problem.code || "unavailable";
    this.hint = problem.hint || "";
  }

  /** True when signing in again is the way out. */
  get signedOut() {
    return this.status === 401;
  }
}

let refreshing = null; // the refresh under way, which all calls wait for

/** The access token lives a while yet, if it can be helped. */
async function refreshed() {
  if (!account.due) return;
  refreshing ??= refresh().finally(() => {
    refreshing = null;
  });
  await refreshing;
}

/** One tab refreshes, the others find it done. Where there are no locks the server forgives two
 * that ask with the same token at once. */
async function refresh() {
  const work = async () => {
    const known = account.due;
    if (!known) return;
    try {
      account.signIn(await send("POST", "/v1/auth/refresh", { refresh_token: known }));
    } catch (error) {
      // Refused for good: the old token will be refused as well, and ask to sign in. A server that
      // is away is asked again with the next call.
      if (error.status >= 400 && error.status < 500) account.signOut();
    }
  };
  await (navigator.locks ? navigator.locks.request("nearcast.refresh", work) : work());
}

async function call(method, path, body, options) {
  await refreshed();
  return send(method, path, body, options);
}

async function send(method, path, body, { keepalive = false } = {}) {
  const headers = { Accept: "application/json" };
  if (account.token) headers.Authorization = `Bearer ${account.token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      keepalive,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw new ApiError(0, { code: "unreachable", detail: "The control plane does not answer." });
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, answer);
  return answer;
}

/** `{access_token, expires_at, refresh_token, refresh_expires_at}` */
export const login = (name, password) =>
  send("POST", "/v1/auth/login", { name, password, device: browserName() });

/** Signs this device out; nobody waits for it. */
export const logout = () =>
  send("POST", "/v1/auth/logout", undefined, { keepalive: true }).catch(() => {});

/** What the list of devices calls this one. */
function browserName() {
  const brands = navigator.userAgentData?.brands ?? [];
  const brand = brands.find(({ brand: name }) => !/Not.A.Brand|Chromium/.test(name))?.brand;
  return [brand ?? "Browser", navigator.userAgentData?.platform].filter(Boolean).join(" on ");
}

/** `{titles, next_cursor}` of what `q` finds, newest first; `cursor` asks for the page after. */
export function listTitles(q, cursor) {
  const wanted = new URLSearchParams({ ...(q && { q }), ...(cursor && { cursor }) });
  return call("GET", wanted.size ? `/v1/titles?${wanted}` : "/v1/titles");
}

/** `{continue_watching, popular, degraded}` */
export const getHome = () => call("GET", "/v1/home");

export const getTitle = (titleId) => call("GET", `/v1/titles/${encodeURIComponent(titleId)}`);

/** The names of the regions that a session may simulate. */
export const listRegions = async () => (await call("GET", "/v1/regions")).regions;

/** A playback session; `region` empty means the client's own place. */
export const openSession = (titleId, region) =>
  call("POST", "/v1/sessions", region ? { title_id: titleId, region } : { title_id: titleId });

/** Says where the player is; `beat` has position_s, rebuffers and bitrate_bps. */
export const beat = (sessionId, beat) =>
  call("POST", `/v1/sessions/${encodeURIComponent(sessionId)}/heartbeat`, beat);

// The next two are sent even while the page goes, which then waits for nothing: not for a new access
// token first, nor for an answer.

/** The same, as the last word of a page that may be gone before anybody answers. */
export const lastBeat = (sessionId, beat) =>
  send("POST", `/v1/sessions/${encodeURIComponent(sessionId)}/heartbeat`, beat, {
    keepalive: true,
  }).catch(() => {});

/** Gives a session back, and says where it was left; null: not known. In one request, for of two
 * nobody knows which arrives first. */
export const endSession = (sessionId, position_s = null) =>
  send(
    "DELETE",
    `/v1/sessions/${encodeURIComponent(sessionId)}` +
      (position_s === null ? "" : `?position_s=${position_s}`),
    undefined,
    { keepalive: true },
  ).catch(() => {});
