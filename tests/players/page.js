/**
 * Plays one manifest with one player, as a page would that got `player_settings` with its session:
 *
 *     page.html?player=hlsjs|dashjs|shaka&manifest=URL&codec=avc1|av01&settings=JSON
 *
 * `window.played` tells how it went: what was played when the end came, or the error; and
 * `window.watched` how it goes: position, buffer, and the times that it stood still.
 */

const query = new URLSearchParams(location.search);
const manifest = query.get("manifest");
const codec = query.get("codec");
const settings = JSON.parse(query.get("settings") ?? "{}");
const video = document.querySelector("#video");

const PLAYERS = {
  hlsjs() {
    const hls = new Hls({ ...settings, videoPreference: { videoCodec: codec } });
    hls.on(Hls.Events.ERROR, (_, data) => data.fatal && fail(data.details, data.error));
    // As somebody chooses them who watches.
    video.addEventListener("playing", () => (hls.subtitleTrack = 0), { once: true });
    hls.loadSource(manifest);
    hls.attachMedia(video);
    return () => hls.levels[hls.currentLevel].videoCodec;
  },

  dashjs() {
    const player = dashjs.MediaPlayer().create();
    player.initialize(video, null, true);
    player.updateSettings(settings);
    player.setInitialMediaSettingsFor("video", { codec: `video/mp4;codecs="${codec}` });
    player.setCustomInitialTrackSelectionFunction((tracks) => {
      const fitting = tracks.filter((track) => track.codec?.includes(codec));
      return fitting.length ? fitting : tracks;
    });
    // A segment that did not come is no end: it is asked for elsewhere.
    const { DOWNLOAD_ERROR_ID_CONTENT_CODE: missed } = dashjs.MediaPlayer.errors;
    player.on("error", ({ error }) => error.code === missed || fail(JSON.stringify(error)));
    // By its own clock it may stop the element just before that would tell of its end.
    player.on("playbackEnded", ended);
    player.on("playbackMetaDataLoaded", () => player.setTextTrack(0));
    player.attachSource(manifest);
    return () => player.getCurrentTrackFor("video").codec.match(/codecs="([^"]+)"/)[1];
  },

  async shaka() {
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    player.addEventListener("error", (event) => fail(event.detail.code, event.detail.data));
    await player.attach(video);
    player.configure({ ...settings, preferredVideo: [{ codec }], preferredVideoCodecs: [codec] });
    await player.load(manifest);
    const [text] = player.getTextTracks();
    if (text) player.selectTextTrack(text);
    player.setTextTrackVisibility?.(true);
    return () => player.getVariantTracks().find((track) => track.active).videoCodec;
  },
};

function fail(...what) {
  window.played ??= { error: what.map(String).join(" ") };
}

/** All that any text track of the element holds, once. */
function cues() {
  const found = new Map();
  for (const track of video.textTracks) {
    for (const cue of track.cues ?? []) {
      found.set(`${cue.startTime.toFixed(2)} ${cue.endTime.toFixed(2)} ${cue.text}`, cue);
    }
  }
  return [...found.keys()].sort();
}

/** How it goes. A stall is a time in which the picture should have moved and did not. */
const watched = (window.watched = { position_s: 0, buffer_s: 0, stalls_s: [] });
let moved_ms = null;

function watch() {
  const now_ms = performance.now();
  const still = video.currentTime === watched.position_s;
  if (moved_ms === null) {
    if (!still) moved_ms = now_ms; // it has begun
  } else if (!still || video.ended) {
    const stood_s = (now_ms - moved_ms) / 1000;
    if (stood_s > 0.15 && !watched.ended) watched.stalls_s.push(stood_s);
    moved_ms = now_ms;
  }
  watched.ended = video.ended;
  watched.position_s = video.currentTime;
  const last = video.buffered.length - 1;
  watched.buffer_s = last < 0 ? 0 : video.buffered.end(last) - video.currentTime;
}

setInterval(watch, 25);

const codecs = new Set();
let seen = [];

function ended() {
  window.played ??= {
    error: null,
    position_s: video.currentTime,
    frames: video.getVideoPlaybackQuality().totalVideoFrames,
    codecs: [...codecs],
    keys: video.mediaKeys !== null,
    cues: seen,
  };
}

try {
  const codecOf = await PLAYERS[query.get("player")]();
  video.addEventListener("timeupdate", () => {
    codecs.add(codecOf());
    const now = cues();
    if (now.length > seen.length) seen = now;
  });
  video.addEventListener("error", () => fail("video", video.error?.message));
  video.addEventListener("ended", ended);
  video.defaultPlaybackRate = video.playbackRate = Number(query.get("rate") ?? 1);
  // dash.js starts by itself: only then does it notice, and asks its steering server.
  if (query.get("player") !== "dashjs") await video.play();
} catch (error) {
  fail(error.code ?? "", error.stack ?? error.message ?? error, error.data ?? "");
}
