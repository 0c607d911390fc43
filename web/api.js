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

async function call(method, path, body, { keepalive = false } = {}) {
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

/** `{access_token, expires_at}` */
export const login = (name, password) => call("POST", "/v1/auth/login", { name, password });

/** `{titles, next_cursor}`, newest first; `cursor` asks for the page after. */
export const listTitles = (cursor) =>
  call("GET", `/v1/titles${cursor ? `?cursor=${encodeURIComponent(cursor)}` : ""}`);

export const getTitle = (titleId) => call("GET", `/v1/titles/${encodeURIComponent(titleId)}`);

/** The names of the regions that a session may simulate. */
export const listRegions = async () => (await call("GET", "/v1/regions")).regions;

/** A playback session; `region` empty means the client's own place. */
export const openSession = (titleId, region) =>
  call("POST", "/v1/sessions", region ? { title_id: titleId, region } : { title_id: titleId });

/** Gives a session back; sent even while the page is closing, and nobody waits for it. */
export const endSession = (sessionId) =>
  call("DELETE", `/v1/sessions/${encodeURIComponent(sessionId)}`, undefined, {
    keepalive: true,
  }).catch(() => {});
