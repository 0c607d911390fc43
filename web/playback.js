/**
 * One film on one video element: sessions, the player beneath them, and what to do when either
 * fails.
 *
 * A session names ranked pathways. hls.js moves along them by itself; when it gives up, or when
 * a token has expired, a new session is opened (with a new ranking) and the film goes on where
 * it stood. While it plays, the control plane is told where it is: so it counts as a stream of the
 * account, and goes on from there another day.
 */

import { beat, endSession, lastBeat, openSession } from "./api.js";
import { endSilence, pathwayFirst } from "./failover.js";
import { pathwayOf } from "./pathways.js";
import { hlsConfig } from "./settings.js";
import { StallMeter } from "./stalls.js";

const LOOK_MS = 100;

// A session that fails at once must not make a loop of requests: four new ones a minute, each
// after a longer pause.
const MAX_RECOVERIES = 4;
const RECOVERY_WINDOW_MS = 60_000;
const FIRST_PAUSE_MS = 250;

/** The `code` in an appliance's answer, or null. */
function problemCode(request) {
  try {
    const { response } = request;
    return JSON.parse(typeof response === "string" ? response : new TextDecoder().decode(response))
      .code;
  } catch {
    return null;
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Dispatches "session" (a new one plays), "pathway" (another appliance serves, or one has failed)
 * and "failed" (detail: the error; nothing more is tried).
 */
export class Playback extends EventTarget {
  session = null;
  hls = null;
  serving = null; // the pathway of the last fragment
  failovers = 0;
  left = new Set(); // appliances of this session that failed
  meter = new StallMeter();

  #Hls;
  #video;
  #journal;
  #query;
  #titleId;
  #region = "";
  #turn = 0; // counts openings: an answer to an earlier one is void
  #recoveries = []; // when
  #recovering = false;
  #measured = false; // a fragment has been timed
  #resuming = false; // a new session is on its way to the picture
  #openedAt = performance.now();
  #startup_ms = null;
  #position = null; // where the film is to go on
  #heart = 0; // the timer of the heartbeats
  #beating = false; // the session is one that heartbeats belong to
  #stallsTold = 0;
  #told = null; // the position at the last heartbeat

  constructor({ Hls, video, journal, query, titleId }) {
    super();
    this.#Hls = Hls;
    this.#video = video;
    this.#journal = journal;
    this.#query = query;
    this.#titleId = titleId;
    this.#watchElement();
    setInterval(() => this.#look(), LOOK_MS);
  }

  /** Opens a session for `region` (empty: the client's own) and plays on from where it stands. */
  async open(region, { play }) {
    this.#region = region;
    this.#recoveries = [];
    await this.#renew("opened", play);
  }

  /** Gives the session back, and says where the film was left; what is loaded plays on. */
  end() {
    clearInterval(this.#heart);
    this.#beating = false;
    if (this.session) endSession(this.session.session_id, this.#reached);
  }

  /** Says where the film is, for the page may be gone any moment. */
  tell() {
    if (!this.#beating || this.#reached === null || this.#reached === this.#told) return;
    lastBeat(this.session.session_id, this.#word());
  }

  /** What there is to see of the play at this moment. Seconds, bits per second, pixels. */
  stats() {
    const level = this.hls?.levels[this.hls.currentLevel];
    const { serving } = this;
    return {
      appliance_id: serving?.appliance_id ?? null,
      site: serving?.site ?? null,
      region: serving?.region ?? null,
      bitrate_bps: level?.bitrate ?? null,
      height: level?.height || this.#video.videoHeight || null,
      buffer_s: this.#bufferSeconds(),
      throughput_bps: this.#throughput,
      position_s: this.#video.currentTime,
      duration_s: this.#video.duration,
      startup_ms: this.#startup_ms,
      failovers: this.failovers,
      ...this.meter.summary(performance.now()),
    };
  }

  /** Opens a session and plays it at the present position; `why` goes into the journal. */
  async #renew(why, play) {
    const turn = ++this.#turn;
    const session = await openSession(this.#titleId, this.#region);
    if (turn !== this.#turn) {
      endSession(session.session_id);
      return;
    }
    this.end();
    this.session = session;
    this.left.clear();
    this.serving = null;
    this.#journal.add("session", { why, session_id: session.session_id, region: session.region });
    this.#interrupt(play, why !== "opened");
    this.#beginAt(session.resume_s);
    this.#attach(play);
    this.#heart = setInterval(() => this.#beat(), session.heartbeat_s * 1000);
    this.#beating = true;
    this.dispatchEvent(new Event("session"));
  }

  /** The picture stops until the new session plays: a stall, unless the viewer asked for it. */
  #interrupt(play, isStall) {
    if (isStall && play) this.meter.waiting(performance.now());
    else this.meter.look(performance.now(), this.#video.currentTime, true);
    this.#resuming = play;
    // Before the film has moved again, the element stands at 0.
    this.#position ??= this.#video.currentTime;
  }

  /** A film that has not begun begins where the address says (`start`), or where it was left. */
  #beginAt(resume_s) {
    if (this.#position) return;
    const wanted = Number.parseFloat(this.#query.get("start") ?? "");
    this.#position = Number.isFinite(wanted) ? wanted : (resume_s ?? 0);
  }

  /** Seconds that the viewer has come to; null until the film moves, for then the element stands at
   * 0, which is not where the viewer is. */
  get #reached() {
    return this.#position === null ? this.#video.currentTime : null;
  }

  /** What a heartbeat says; the next one goes on from there. */
  #word() {
    const { stalls, bitrate_bps } = this.stats();
    const rebuffers = Math.max(0, stalls - this.#stallsTold);
    this.#stallsTold = stalls;
    this.#told = this.#reached;
    return {
      position_s: this.#told,
      rebuffers,
      bitrate_bps: bitrate_bps === null ? null : Math.round(bitrate_bps),
    };
  }

  async #beat() {
    if (!this.#beating) return;
    if (this.#video.paused && this.#told === this.#reached) return; // as it was told
    try {
      await beat(this.session.session_id, this.#word());
    } catch (error) {
      // Anything else is the control plane's trouble, and playing goes on without it.
      if (error.code === "too_many_streams") this.#fail(error);
    }
  }

  #attach(play) {
    const { Events } = this.#Hls;
    const hls = new this.#Hls({
      errorController: pathwayFirst(this.#Hls),
      xhrSetup: endSilence,
      ...hlsConfig(this.session, this.#query, this.#position, this.#throughput),
    });
    this.hls?.destroy();
    this.hls = hls;
    hls.on(Events.FRAG_LOADED, (_, data) => this.#onFragment(data));
    hls.on(Events.ERROR, (_, data) => this.#onError(data));
    hls.on(Events.MANIFEST_PARSED, () => play && this.#play());
    hls.loadSource(this.session.hls_url);
    hls.attachMedia(this.#video);
  }

  /** A browser that refuses to start with sound leaves the film ready, and its button visible. */
  #play() {
    this.#video.play().catch(() => {});
  }

  /** As measured so far, or null. */
  get #throughput() {
    return this.#measured ? this.hls.bandwidthEstimate : null;
  }

  #pathwayOf(url) {
    return url ? pathwayOf(url, this.session.pathways) : null;
  }

  #onFragment({ frag }) {
    const { loading, total } = frag.stats;
    const pathway = this.#pathwayOf(frag.url);
    this.#measured = true;
    this.#journal.add("frag", {
      appliance_id: pathway?.appliance_id ?? null,
      kind: frag.type,
      number: frag.sn,
      level: frag.level,
      bytes: total,
      first_byte_ms: loading.first - loading.start,
      load_ms: loading.end - loading.start,
    });
    // An audio fragment already under way may still come from the appliance that was left.
    if (frag.type === "main" && pathway && pathway !== this.serving) this.#moveTo(pathway);
  }

  #moveTo(pathway) {
    const from = this.serving;
    const failed = from === null ? this.left.size > 0 : this.left.has(from.appliance_id);
    if (failed) this.failovers += 1;
    this.left.delete(pathway.appliance_id);
    this.serving = pathway;
    this.#journal.add("pathway", {
      appliance_id: pathway.appliance_id,
      from: from?.appliance_id ?? null,
      why: failed ? "failure" : from === null ? "start" : "steering",
    });
    this.dispatchEvent(new Event("pathway"));
  }

  #onError(data) {
    const pathway = this.#pathwayOf(data.frag?.url ?? data.context?.url ?? data.url);
    const network = data.type === this.#Hls.ErrorTypes.NETWORK_ERROR;
    const code = problemCode(data.networkDetails);
    this.#journal.add("error", {
      appliance_id: pathway?.appliance_id ?? null,
      details: data.details,
      status: data.response?.code ?? null,
      code,
      fatal: data.fatal,
    });
    if (network && pathway && !this.left.has(pathway.appliance_id)) {
      this.left.add(pathway.appliance_id);
      this.dispatchEvent(new Event("pathway"));
    }
    if (code === "token_expired") this.#recover("token_expired");
    else if (data.fatal) this.#recover(data.details);
  }

  /** Opens a new session after a failure, unless that was tried too often of late. */
  async #recover(why) {
    if (this.#recovering) return;
    this.#recovering = true;
    const play = this.#resuming || !(this.#video.paused || this.#video.ended);
    this.hls.stopLoad();
    try {
      await this.#reopen(why, play);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#recovering = false;
    }
  }

  async #reopen(why, play) {
    const turn = this.#turn;
    for (;;) {
      await pause(this.#nextPause());
      // The viewer chose another region meanwhile, and that session plays.
      if (turn !== this.#turn) return;
      try {
        await this.#renew(why, play);
        return;
      } catch (error) {
        if (error.status > 0 && error.status < 500) throw error;
      }
    }
  }

  /** Milliseconds to wait before the next attempt: none before the first. */
  #nextPause() {
    const now = performance.now();
    this.#recoveries = this.#recoveries.filter((at) => now - at < RECOVERY_WINDOW_MS);
    const tried = this.#recoveries.length;
    if (tried >= MAX_RECOVERIES) {
      throw new Error("No appliance delivers this film at the moment.");
    }
    this.#recoveries.push(now);
    return tried === 0 ? 0 : FIRST_PAUSE_MS * 2 ** tried;
  }

  #fail(error) {
    clearInterval(this.#heart);
    this.#beating = false;
    this.#video.pause();
    this.hls.stopLoad();
    this.#journal.add("failed", { message: error.message });
    this.dispatchEvent(new CustomEvent("failed", { detail: error }));
  }

  #watchElement() {
    const note = (type, fields) => this.#journal.add(type, this.#where(fields));
    this.#video.addEventListener("playing", () => {
      this.#startup_ms ??= performance.now() - this.#openedAt;
      this.#resuming = false;
      this.#position = null;
      note("playing");
    });
    this.#video.addEventListener("waiting", () => {
      if (!this.#idle && !this.#resuming) this.meter.waiting(performance.now());
      note("waiting", { buffer_s: this.#bufferSeconds() });
    });
    this.#video.addEventListener("seeked", () => {
      this.#position = null;
    });
    for (const type of ["pause", "seeking", "ended"]) {
      this.#video.addEventListener(type, () => {
        this.#look();
        note(type);
      });
    }
    // Where a viewer stops is where another day begins.
    for (const type of ["pause", "ended"]) {
      this.#video.addEventListener(type, () => this.#beat());
    }
    this.#video.addEventListener("timeupdate", () => this.#look());
  }

  #where(fields) {
    const appliance_id = this.serving?.appliance_id ?? null;
    return { appliance_id, position_s: this.#video.currentTime, ...fields };
  }

  get #idle() {
    return this.#video.paused || this.#video.seeking || this.#video.ended;
  }

  #look() {
    if (this.#resuming) return;
    const stall = this.meter.look(performance.now(), this.#video.currentTime, this.#idle);
    if (stall) this.#journal.add("stall", this.#where({ seconds: stall.seconds }));
  }

  #bufferSeconds() {
    const { buffered, currentTime } = this.#video;
    for (let i = 0; i < buffered.length; i += 1) {
      if (buffered.start(i) <= currentTime + 0.1 && currentTime < buffered.end(i)) {
        return buffered.end(i) - currentTime;
      }
    }
    return 0;
  }
}
