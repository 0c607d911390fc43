"""`nearcast bench encode`: a film encoded, beside one ffmpeg command and beside the fixed ladder.

The encoder runs as people run it, `nearcast encode`, and its packages are judged from outside:
every frame of every rung beside the film, by VMAF.
"""

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Any

import ffmpeg
import m3u8

from encoder.vmaf import compare, read_log, summary
from lab.bench import Bar, Effort, Row, alone, alternate, chosen, row_of, skipped
from lab.cluster import cluster
from lab.ladders import Rated, bd_rate, watched
from media.inventory import INVENTORY_NAME, FileList, Inventory, Rendition
from runtime import programs
from runtime.child import ChildFailed, Limits, run_child
from runtime.errors import Problem

_LIMITS = Limits(timeout_s=3600, memory_bytes=32 * 1024**3)
_SCENES = {
    "noise": "testsrc2=s=1280x720:r=25,noise=alls=12:allf=t",
    "zoom": "mandelbrot=s=1280x720:r=25:end_scale=0.05:maxiter=400",
    "cells": "life=s=640x360:r=25:ratio=0.1:mold=20:life_color=#8fd0ff:death_color=#203040",
}
_SCENE_S = 8
_LEAST_S = 5.0  # a shorter film says nothing of a ladder


@dataclass
class Films:
    """What is encoded; `folder` is for the packages."""

    folder: Path
    paths: dict[str, Path]
    effort: Effort


async def bench_encode(
    films: Sequence[Path], cases: Sequence[str], effort: Effort, tell: Callable[[str], None]
) -> list[Row]:
    """The rows of the cases (all, if none is named), over these films and some made scenes. Raises
    Problem for an unknown case, and when an encode fails."""
    wanted = chosen(cases, CASES)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="nearcast-bench-") as name:
        folder = Path(name)
        given = {path.stem: path for path in films}
        stand = Films(folder, given | await _scenes(folder), effort)
        for case, measure in wanted.items():
            rows += await measure(case, stand, tell)
    return rows


async def _scenes(folder: Path) -> dict[str, Path]:
    """Films that every machine has."""
    made = {}
    for name, scene in _SCENES.items():
        made[name] = folder / f"{name}.mkv"
        argv = [programs.ffmpeg(), "-v", "error", "-f", "lavfi", "-i", scene, "-t", str(_SCENE_S)]
        argv += ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-crf", "8"]
        await _run([*argv, str(made[name])])
    return made


# Wall time.


async def wall(name: str, films: Films, tell: Callable[[str], None]) -> list[Row]:
    """From the film to the package, the fixed ladder and nothing judged, beside one ffmpeg that
    makes the same rungs from one decode, as people write it by hand."""
    tell(name)
    title, film = next(iter(films.paths.items()))
    first = await _encode(films, film, f"{title}-wall", "apple")
    argv = _by_hand(film, films.folder / "by-hand", first)
    number = 0

    async def ours() -> float:
        nonlocal number
        number += 1
        began = time.monotonic()
        await _encode(films, film, f"{title}-wall-{number}", "apple")
        return time.monotonic() - began

    async def peer() -> float:
        began = time.monotonic()
        await _run(argv)
        return time.monotonic() - began

    (films.folder / "by-hand").mkdir()
    pairs = await alternate(films.effort.pairs, ours, peer)
    row = row_of(name, "s", pairs, "ffmpeg", Bar(1.10, "less"))
    return [replace(row, notes={"film": title, "rungs": len(first.videos)})]


def _by_hand(film: Path, out: Path, made: "Package") -> list[str]:
    """One command for these rungs, x264 at the same preset and rates, and the sound."""
    videos = made.videos
    labels = "".join(f"[p{n}]" for n in range(len(videos)))
    graph = f"[0:v:0]split={len(videos)}{labels};" + ";".join(
        f"[p{n}]scale={r.width}:{r.height},format=yuv420p[v{n}]" for n, r in enumerate(videos)
    )
    gop = round(2 * (videos[0].frame_rate or 25))
    argv = [programs.ffmpeg(), "-v", "error", "-nostdin", "-y", "-i", str(film)]
    argv += ["-filter_complex", graph]
    for n, video in enumerate(videos):
        rung = made.rungs[video.rendition_id]
        cap = rung["max_bps"]
        argv += ["-map", f"[v{n}]", "-c:v", "libx264", "-preset", "veryfast"]
        argv += ["-b:v", str(rung["bps"]), "-maxrate", str(cap), "-bufsize", str(cap * 3 // 2)]
        argv += ["-g", str(gop), "-keyint_min", str(gop), "-sc_threshold", "0"]
        argv += [str(out / f"{video.rendition_id}.mp4")]
    for n, sound in enumerate(r for r in made.inventory.renditions if r.kind == "audio"):
        argv += ["-map", f"0:a:{n}", "-c:a", "aac", "-b:a", "128k", "-ac", str(sound.channels)]
        argv += [str(out / f"{sound.rendition_id}.mp4")]
    return argv


# Chunks.


async def chunks(name: str, films: Films, tell: Callable[[str], None]) -> list[Row]:
    """The film's own ladder, in chunks of a segment each, beside the same in one piece: the bits
    for the same quality, over all rungs."""
    rows = []
    for title, film in films.paths.items():
        tell(f"{name} {title}")
        whole = await _encode(films, film, f"{title}-whole", "auto", chunk_s=100_000)
        parts = await _encode(films, film, f"{title}-parts", "auto", chunk_s=6)
        a, b = [await _rated(films, film, one, whole.size) for one in (parts, whole)]
        frames = [[video.frames for video in one.videos] for one in (parts, whole)]
        more = bd_rate(a, b)
        if frames[0] != frames[1]:
            raise Problem("unavailable", f"{title}: {frames[0]} frames instead of {frames[1]}.")
        case, bar = f"{name}-{title}", Bar(0.015, "less", "ours")
        if more is None:
            rows.append(skipped(case, "BD-rate", "whole", bar, "the ladders share no quality"))
        else:
            rows.append(alone(case, "BD-rate", round(more, 4), bar))
    return rows


async def farm(name: str, films: Films, tell: Callable[[str], None]) -> list[Row]:
    """Two workers of a Dask cluster, each on a core of its own, beside one of them."""
    tell(name)
    lengths = {title: await _lasts_s(film) for title, film in films.paths.items()}
    title = max(lengths, key=lengths.__getitem__)  # so that there are chunks to share
    film = films.paths[title]
    number = 0

    async def encoded(workers: int) -> float:
        nonlocal number
        number += 1
        async with cluster(films.folder / f"farm-{number}", workers) as address:
            began = time.monotonic()
            out = f"{title}-farm-{number}"
            await _encode(films, film, out, "apple", chunk_s=6, farm=address)
            return time.monotonic() - began

    async def one() -> float:
        return await encoded(1)

    async def two() -> float:
        return await encoded(2)

    pairs = await alternate(films.effort.pairs, one, two)
    row = row_of(name, "s", pairs, "two workers", Bar(1.6, "more"))
    return [replace(row, notes={"film": title})]


# Figures that others measure, too.

_TOOL = "ffmpeg-quality-metrics"


async def vmaf(name: str, films: Films, tell: Callable[[str], None]) -> list[Row]:
    """VMAF of every rung, by us and by a program of somebody else's.

    That one compares the streams as they are, and ffmpeg converts one that says BT.709 for one that
    says nothing: so it gets a copy of the film, without loss, that says what our rungs say.
    """
    bar = Bar(0.3, "less", "ours")
    tool = shutil.which(_TOOL)
    if tool is None:
        why = f"{_TOOL} is not installed: pip install {_TOOL}"
        return [skipped(name, "VMAF apart", _TOOL, bar, why)]
    tell(name)
    title, film = next(iter(films.paths.items()))
    made = await _encode(films, film, f"{title}-vmaf", "apple")
    ours = await _rated(films, film, made, made.size)
    rate = made.videos[0].frame_rate
    assert rate
    reference = await _labelled(films.folder, film, rate)
    theirs = []
    for rung in made.videos:
        await asyncio.to_thread(_whole, films.folder, made, rung)
        argv = [tool, "--ffmpeg-path", programs.ffmpeg(), "--metrics", "vmaf", "--no-summary"]
        said = json.loads(await _run([*argv, str(films.folder / "rung.mp4"), str(reference)]))
        theirs.append(fmean(frame["vmaf"] for frame in said["vmaf"]))
    apart = [abs(one.vmaf - other) for one, other in zip(ours, theirs, strict=True)]
    notes = {"ours": [round(one.vmaf, 3) for one in ours], "theirs": [round(v, 3) for v in theirs]}
    return [replace(alone(name, "VMAF apart", round(max(apart), 3), bar), notes=notes)]


async def _labelled(folder: Path, film: Path, rate: float) -> Path:
    """The film's pictures as they are, BT.709 in the headers, each at its number."""
    out, ticks = folder / "labelled.mp4", 1000
    said = "range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
    clock = f"settb=1/{round(rate * ticks)},setpts=N*{ticks}"
    argv = [programs.ffmpeg(), "-v", "error", "-y", "-i", str(film), "-map", "0:v:0"]
    argv += ["-fps_mode", "passthrough", "-vf", f"setparams={said},{clock}"]
    argv += ["-c:v", "libx264", "-preset", "ultrafast", "-qp", "0"]
    await _run([*argv, "-video_track_timescale", str(round(rate * ticks)), str(out)])
    return out


async def bandwidth(name: str, films: Films, tell: Callable[[str], None]) -> list[Row]:
    """What HLS and DASH declare, beside what the files of every rendition weigh: by the lengths in
    the playlists, not by how we measure."""
    ratios = []
    for title, film in films.paths.items():
        tell(f"{name} {title}")
        made = await _encode(films, film, f"{title}-bandwidth", "auto")
        for rendition in made.inventory.renditions:
            average, peak = _weighed(made.folder, rendition.rendition_id)
            ratios.append(rendition.average_bandwidth / average)
            ratios.append(rendition.bandwidth / peak)
    most, least = Bar(1.10, "less", "ours"), Bar(1.0, "more", "ours")
    return [
        alone(f"{name}-most", "declared ÷ measured", round(max(ratios), 4), most),
        alone(f"{name}-least", "declared ÷ measured", round(min(ratios), 4), least),
    ]


def _weighed(package: Path, name: str) -> tuple[float, float]:
    """Average and peak, in bits per second, of a media playlist (RFC 8216bis, 4.4.6.2)."""
    playlist = m3u8.load(str(package / "hls" / f"{name}.m3u8"))
    lengths = [float(segment.duration) for segment in playlist.segments]
    bits = [8 * (package / "hls" / str(s.uri)).stat().st_size for s in playlist.segments]
    target = float(playlist.target_duration)
    runs = [
        (sum(bits[first:end]), sum(lengths[first:end]))
        for first in range(len(bits))
        for end in range(first + 1, len(bits) + 1)
        if 0.5 * target <= sum(lengths[first:end]) <= 1.5 * target
    ]
    average = sum(bits) / sum(lengths)
    return average, max((weight / lasts for weight, lasts in runs), default=average)


# Ladders.


async def ladder(name: str, films: Films, tell: Callable[[str], None]) -> list[Row]:
    """The film's own ladder beside the fixed one, with one encoder, preset and GOP: what viewers
    get of each over lines of 0.5 to 8 Mb/s."""
    rows: list[Row] = []
    bits, gains = [], []
    for title, film in films.paths.items():
        tell(f"{name} {title}")
        if await _lasts_s(film) < _LEAST_S:
            continue
        made = [await _encode(films, film, f"{title}-{kind}", kind) for kind in ("auto", "apple")]
        auto, apple = [await _rated(films, film, one, made[1].size) for one in made]
        ours, theirs = watched(auto), watched(apple)
        notes = {"auto": [r.__dict__ for r in auto], "apple": [r.__dict__ for r in apple]}
        bits.append((ours.bps, theirs.bps))
        gains.append(ours.vmaf - theirs.vmaf)
        rows.append(
            replace(_pair(f"{name}-{title}", "Mb/s watched", bits[-1], Bar(None)), notes=notes)
        )
        rows.append(alone(f"{name}-{title}-vmaf", "VMAF more", round(gains[-1], 2), Bar(None)))
        more = bd_rate(auto, apple)
        case, bar = f"{name}-{title}-bd", Bar(0.01, "less", "ours")
        if more is None:
            rows.append(skipped(case, "BD-rate", "apple", bar, "the ladders share no quality"))
        else:
            rows.append(alone(case, "BD-rate", round(more, 4), bar))
    if not bits:
        return rows
    # Of all bits that go out when every film is watched as long, and film by film.
    whole = fmean(ours for ours, _ in bits) / fmean(theirs for _, theirs in bits)
    each = fmean(ours / theirs for ours, theirs in bits)
    rows.append(alone(f"{name}-bits", "of apple's bits", round(whole, 3), Bar(0.8, "less", "ours")))
    rows.append(alone(f"{name}-bits-each", "of apple's bits", round(each, 3), Bar(None)))
    gain = round(fmean(gains), 2)
    rows.append(alone(f"{name}-vmaf", "VMAF more", gain, Bar(-0.5, "more", "ours")))
    return rows


async def _lasts_s(film: Path) -> float:
    argv = [programs.ffprobe(), "-v", "error", "-show_entries", "format=duration"]
    return float(await _run([*argv, "-of", "csv=p=0", str(film)]))


def _pair(case: str, unit: str, bps: tuple[float, float], bar: Bar) -> Row:
    return row_of(case, unit, [(bps[0] / 1e6, bps[1] / 1e6)], "apple", bar)


Case = Callable[[str, Films, Callable[[str], None]], Awaitable[list[Row]]]
CASES: Mapping[str, Case] = {
    "wall": wall,
    "chunks": chunks,
    "farm": farm,
    "ladder": ladder,
    "vmaf": vmaf,
    "bandwidth": bandwidth,
}


# Packages, from outside.


@dataclass(frozen=True)
class Package:
    """An encoded film in a folder."""

    folder: Path
    inventory: Inventory
    rungs: dict[str, dict[str, Any]]  # by rendition: what was asked for

    @property
    def videos(self) -> list[Rendition]:
        """From the lowest to the highest."""
        found = [r for r in self.inventory.renditions if r.kind == "video"]
        return sorted(found, key=lambda r: r.average_bandwidth)

    @property
    def size(self) -> tuple[int, int]:
        """Of the largest rung."""
        return max((r.width or 0, r.height or 0) for r in self.videos)


async def _encode(films: Films, film: Path, name: str, kind: str, **settings: object) -> Package:
    folder, config = films.folder / name, films.folder / f"{name}.toml"
    # Judged here, or not at all: a ladder that is compared need not be good enough to be published.
    settings = {"quality": "off"} | settings
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in settings.items()]
    config.write_text("".join(["[encoder]\n", *lines]))
    argv = [sys.executable, "-m", "nearcast", "encode", str(film), "--out", str(folder)]
    said = await _run([*argv, "--ladder", kind, "--config", str(config), "--json"])
    rungs = {rung["rendition_id"]: rung for rung in json.loads(said)["ladder"]}
    inventory = Inventory.model_validate_json((folder / INVENTORY_NAME).read_bytes())
    return Package(folder, inventory, rungs)


async def _rated(films: Films, film: Path, made: Package, size: tuple[int, int]) -> list[Rated]:
    """Every rung, every frame, in the film's own size."""
    rated = []
    for rung in made.videos:
        whole = await asyncio.to_thread(_whole, films.folder, made, rung)
        scores = await _judge(films.folder, film, whole, rung, size)
        rated.append(Rated(rung.rendition_id, float(rung.average_bandwidth), summary(scores).mean))
    return rated


def _whole(folder: Path, made: Package, rung: Rendition) -> Path:
    """The rung in one file."""
    listed = FileList.model_validate_json((made.folder / rung.file_list.path).read_bytes())
    whole = folder / "rung.mp4"
    with whole.open("wb") as out:
        for entry in listed.files:
            out.write((made.folder / entry.path).read_bytes())
    return whole


async def _judge(
    folder: Path, film: Path, whole: Path, rung: Rendition, size: tuple[int, int]
) -> list[float]:
    assert rung.frames and rung.frame_rate
    rate = Fraction(rung.frame_rate).limit_denominator(1001)
    reference = ffmpeg.input(str(film))["v:0"].filter("trim", end_frame=rung.frames)
    reference = reference.filter("scale", *size, flags="bicubic").filter("format", "yuv420p")
    judged = compare(
        ffmpeg.input(str(whole))["v:0"],
        reference,
        size,
        rate,
        log_path="judged.json",
        threads=len(os.sched_getaffinity(0)),
    )
    argv = judged.output("-", f="null").global_args("-v", "error", "-nostdin", "-y")
    await _run(list(argv.compile(cmd=programs.ffmpeg())), folder)
    return read_log((folder / "judged.json").read_bytes(), rung.frames)


async def _run(argv: Sequence[str], cwd: Path | None = None) -> bytes:
    try:
        return await run_child(argv, limits=_LIMITS, cwd=cwd)
    except ChildFailed as failed:
        raise Problem("unavailable", f"{failed}") from None
