/**
 * Stalls: time in which a film that should move does not.
 *
 * Two witnesses. The media element's `waiting` begins a stall at once, when the browser says so;
 * a position that has stood still for FROZEN_MS begins one at the moment it last moved. Both end
 * when the position moves on. Nothing counts before the film first moves, nor while it is paused,
 * seeking or at its end. The clock is an argument.
 */

// The position is looked at every 100 ms, and moves with the audio clock's own steps.
const FROZEN_MS = 300;

// An hour with a stall a second is no film any more.
const MAX_STALLS = 3_600;

export class StallMeter {
  /** Ended stalls, `{t_ms, seconds}`, in order. */
  stalls = [];

  #moving = false; // has moved since the last pause, seek or start
  #position = 0;
  #movedAt = 0;
  #since = null; // begin of the stall that lasts

  /** The element waits for data. Returns true when a stall begins by it. */
  waiting(now) {
    if (!this.#moving || this.#since !== null) return false;
    this.#since = now;
    return true;
  }

  /**
   * Looks at the element. `idle` means that it need not move: paused, seeking or ended.
   * Returns the stall that ended here, or null.
   */
  look(now, position, idle) {
    const moved = position !== this.#position;
    this.#position = position;
    if (idle) {
      const ended = this.#end(now);
      this.#moving = false;
      return ended;
    }
    if (moved) {
      this.#moving = true;
      this.#movedAt = now;
      return this.#end(now);
    }
    if (this.#moving && this.#since === null && now - this.#movedAt >= FROZEN_MS) {
      this.#since = this.#movedAt;
    }
    return null;
  }

  /** Counts, with the stall that still lasts. Seconds. */
  summary(now) {
    const lasting = this.#since === null ? [] : [(now - this.#since) / 1000];
    const all = [...this.stalls.map((stall) => stall.seconds), ...lasting];
    return {
      stalls: all.length,
      stalled_s: all.reduce((sum, seconds) => sum + seconds, 0),
      longest_stall_s: Math.max(0, ...all),
    };
  }

  #end(now) {
    if (this.#since === null) return null;
    const stall = { t_ms: this.#since, seconds: (now - this.#since) / 1000 };
    this.#since = null;
    if (this.stalls.length < MAX_STALLS) this.stalls.push(stall);
    return stall;
  }
}
