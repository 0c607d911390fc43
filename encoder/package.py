"""A package made whole: segments measured, playlists and MPD written, everything listed.

inventory.json
hls/master.m3u8  hls/{rendition_id}.m3u8  dash/manifest.mpd
{rendition_id}/files.json  init.mp4  1.m4s  2.m4s …
t-vtt-en/files.json  1.vtt  2.vtt …  whole.vtt     (subtitles.py)
thumbs/index.vtt  1.jpg  2.jpg …  poster.jpg       (stills.py)
report/quality.json  index.html …   what was found, and how good it is (report.py)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from encoder import rates
from encoder.measure import (
    Measured,
    average_bps,
    check,
    iframe_peak_bps,
    measure_rendition,
    peak_bps,
)
from encoder.packager import INIT
from encoder.recipe import SAMPLE_RATE, Recipe
from encoder.report import Reports
from encoder.stills import FOLDER as STILLS
from encoder.stills import sprites_of
from encoder.subtitles import Subtitles
from media import dash, hls
from media.inventory import (
    FILE_LIST_NAME,
    INVENTORY_NAME,
    FileEntry,
    FileList,
    Inventory,
    Rendition,
    sha256_of,
    sha256_of_file,
    to_bytes,
)
from media.ladder import Ladder
from media.mp4 import Track
from media.protection import Locked
from runtime.errors import Problem

# Playlists lie one folder below the package.
_BASE = "../"


@dataclass(frozen=True)
class Encoded:
    """A package in a folder, complete: `inventory_sha256` names it."""

    folder: Path
    inventory: Inventory
    inventory_sha256: str
    ladder: Ladder | None = None


def finish_package(
    folder: Path,
    recipe: Recipe,
    title_id: str,
    package_id: str,
    reports: Reports,
) -> Encoded:
    """The packager's segments and the stills in `folder` become a package, with subtitles and
    reports in it. Reads every byte once.

    Raises Problem `encode_failed` for segments that are not what the recipe wants, and
    `truncated_file` where frames of the master are missing.
    """
    measured = _measure(folder, recipe)
    languages = {output.rendition_id: output.language for output in recipe.audio}
    renditions = tuple(
        _rendition(folder, one, recipe, languages.get(one.rendition_id)) for one in measured
    )
    duration_s = float(recipe.source.cadence.frames / recipe.source.frame_rate)
    lengths_s = measured[0].segment_s()
    renditions += tuple(_text(folder, track, lengths_s) for track in reports.subtitles)
    sprites = sprites_of(recipe)
    texts = {f"{STILLS}/index.vtt": sprites.index(duration_s)}
    texts |= _manifests(measured, renditions, duration_s, sprites.told(folder / STILLS))
    texts |= reports.texts(renditions)
    files = tuple(_write(folder, path, text.encode()) for path, text in texts.items())
    files += tuple(_listed(folder, path) for path in sorted((folder / STILLS).glob("*.jpg")))
    inventory = Inventory(
        title_id=title_id,
        package_id=package_id,
        duration_s=duration_s,
        renditions=renditions,
        files=files,
    )
    raw = to_bytes(inventory)
    _write(folder, INVENTORY_NAME, raw)
    return Encoded(folder, inventory, sha256_of(raw))


def _measure(folder: Path, recipe: Recipe) -> list[Measured]:
    try:
        measured = [measure_rendition(folder, name) for name in recipe.rendition_ids]
    except (OSError, ValueError) as error:
        raise Problem("encode_failed", f"The packager's files are not usable: {error}.") from None
    frames = recipe.source.cadence.frames
    found = min(one.samples for one in measured if one.track.kind == "video")
    if found < frames:
        raise Problem(
            "truncated_file",
            f"The file is cut off or damaged: {found} of its {frames} frames could be decoded.",
        )
    if fault := check(measured, frames, Fraction(recipe.audio_samples, SAMPLE_RATE)):
        raise Problem("encode_failed", f"The encode is not sound: {fault}.")
    return measured


def _rendition(folder: Path, one: Measured, recipe: Recipe, language: str | None) -> Rendition:
    """The inventory's entry; writes the rendition's file list."""
    listed = to_bytes(FileList(files=one.files))
    video = one.track.kind == "video"
    return Rendition(
        rendition_id=one.rendition_id,
        kind=one.track.kind,
        codecs=one.track.codecs,
        bandwidth=peak_bps(one),
        average_bandwidth=average_bps(one),
        iframe_bandwidth=iframe_peak_bps(one),
        timescale=one.track.timescale,
        duration_s=float(one.duration_s),
        width=one.track.width,
        height=one.track.height,
        frame_rate=float(recipe.source.frame_rate) if video else None,
        video_range=one.track.video_range,
        locked=_locked(one.track),
        frames=one.samples if video else None,
        language=language,
        channels=one.track.channels,
        sample_rate=one.track.sample_rate,
        file_list=_write(folder, f"{one.rendition_id}/{FILE_LIST_NAME}", listed),
        file_count=len(one.files),
        total_bytes=one.total_bytes,
    )


def _locked(track: Track) -> Locked | None:
    told = track.encryption
    return (
        None
        if told is None
        else Locked.model_validate({"scheme": told.scheme, "key_id": told.key_id})
    )


def _text(folder: Path, track: Subtitles, lengths_s: Sequence[Fraction]) -> Rendition:
    """The inventory's entry of subtitles; writes them, and their file list."""
    written = [_write(folder, path, text.encode()) for path, text in track.files(lengths_s).items()]
    sizes = [entry.bytes for entry in written[:-1]]  # the last one is all of it again
    target_s = max(1, round(max(lengths_s)))
    listed = to_bytes(FileList(files=tuple(written)))
    return Rendition(
        rendition_id=track.rendition_id,
        kind="text",
        codecs="wvtt",
        bandwidth=math.ceil(rates.peak_bps(sizes, lengths_s, target_s)),
        average_bandwidth=math.ceil(rates.average_bps(sizes, lengths_s)),
        timescale=1000,
        duration_s=float(sum(lengths_s)),
        language=track.language,
        forced=track.forced or None,
        for_the_deaf=track.for_the_deaf or None,
        file_list=_write(folder, f"{track.rendition_id}/{FILE_LIST_NAME}", listed),
        file_count=len(written),
        total_bytes=sum(entry.bytes for entry in written),
    )


def _manifests(
    measured: Sequence[Measured],
    renditions: Sequence[Rendition],
    duration_s: float,
    thumbnails: dash.Thumbnails,
) -> dict[str, str]:
    """Every playlist and the MPD, by path."""
    here = [hls.PathwayBase(id=None, base_url=_BASE)]
    manifests = {hls.MULTIVARIANT_PATH: hls.multivariant(renditions, here)}
    for one in measured:
        locked = _locked(one.track)
        segments = [
            hls.Segment(f"{_BASE}{entry.path}", float(length))
            for entry, length in zip(one.segments, one.segment_s(), strict=True)
        ]
        init = f"{_BASE}{one.rendition_id}/{INIT}"
        manifests[f"hls/{one.rendition_id}.m3u8"] = hls.media_playlist(
            init, segments, locked=locked
        )
        if iframe_peak_bps(one) is not None:
            frames = [
                hls.Segment(f"{_BASE}{entry.path}", float(length), (key.offset, key.length))
                for entry, key, length in one.key_frames()
            ]
            name = hls.iframe_name(one.rendition_id)
            manifests[f"hls/{name}.m3u8"] = hls.iframe_playlist(init, frames, locked=locked)
    for text in renditions:
        if text.kind == "text":
            parts = [
                hls.Segment(f"{_BASE}{text.rendition_id}/{number}.vtt", float(length))
                for number, length in enumerate(measured[0].segment_s(), start=1)
            ]
            manifests[f"hls/{text.rendition_id}.m3u8"] = hls.media_playlist(None, parts)
    timelines = {
        one.rendition_id: dash.Timeline(one.track.timescale, one.durations, one.start)
        for one in measured
    }
    manifests[dash.MPD_PATH] = dash.mpd(renditions, timelines, duration_s, thumbnails)
    return manifests


def _write(folder: Path, path: str, data: bytes) -> FileEntry:
    target = folder / path
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(data)
    return FileEntry(path=path, bytes=len(data), sha256=sha256_of(data))


def _listed(folder: Path, path: Path) -> FileEntry:
    name = path.relative_to(folder).as_posix()
    return FileEntry(path=name, bytes=path.stat().st_size, sha256=sha256_of_file(path))
