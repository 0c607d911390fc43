/** What happened during a play, in order, for the overlay and for tests. */

// An hour of two-second segments, audio and video, makes 3,600 events.
const MAX_EVENTS = 10_000;

export class Journal {
  /** The same array for the whole life of the page; the oldest events leave first. */
  events = [];

  /** Appends `{t_ms, type, …fields}`; `t_ms` is on the clock of performance.now(). */
  add(type, fields = {}) {
    if (this.events.length >= MAX_EVENTS) this.events.shift();
    const event = { t_ms: performance.now(), type, ...fields };
    this.events.push(event);
    return event;
  }
}
