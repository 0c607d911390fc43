/** Numbers as people read them. */

const DASH = "–";

/** 83 → "1:23", 3723 → "1:02:03". */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return DASH;
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tail = String(s).padStart(2, "0");
  return h ? `${h}:${String(m).padStart(2, "0")}:${tail}` : `${m}:${tail}`;
}

/** What is left of a film: "less than a minute left", "12 min left", "1 h 5 min left". */
export function left(seconds) {
  if (!Number.isFinite(seconds)) return DASH;
  const minutes = Math.round(seconds / 60);
  if (minutes < 1) return "less than a minute left";
  const [h, m] = [Math.floor(minutes / 60), minutes % 60];
  return `${[h && `${h} h`, m && `${m} min`].filter(Boolean).join(" ")} left`;
}

/** Bits per second: "640 kb/s", "2.4 Mb/s", "310 Mb/s". */
export function bitrate(bps) {
  if (!Number.isFinite(bps) || bps <= 0) return DASH;
  if (bps < 1e6) return `${Math.round(bps / 1e3)} kb/s`;
  if (bps < 1e9) return `${(bps / 1e6).toFixed(bps < 1e8 ? 1 : 0)} Mb/s`;
  return `${(bps / 1e9).toFixed(1)} Gb/s`;
}

/** "720p" */
export const height = (pixels) => (pixels ? `${pixels}p` : DASH);

/** "4.2 s" */
export const seconds = (value) => (Number.isFinite(value) ? `${value.toFixed(1)} s` : DASH);

/** "oslo · norway"; a site that is its whole region is named once. */
export const place = ({ site, region }) => (site === region ? site : `${site} · ${region}`);
