"""Looking at a master: ffprobe as a child with limits, its words handed to `source.interpret`.

The master lies in a private folder under a neutral name, and only demuxers of real containers may
open it (see `ffmpeg.DEMUXERS`).
"""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from encoder.extent import missing_bytes
from encoder.ffmpeg import MASTER, input_options
from encoder.settings import EncoderSettings
from encoder.shots import shot_starts, shots_argv
from encoder.sniff import HEAD_BYTES, refuse_head, starts_like_a_film
from encoder.source import Packets, Source, choose_video, interpret
from runtime import programs
from runtime.child import ChildFailed, ChildTimeout, run_child
from runtime.errors import Problem
from runtime.log import logger

# The first frames tell where decoding begins and whether the film is interlaced. Decoders may
# hold back sixteen; some streams start with pictures that cannot be decoded.
_HEAD_PACKETS = 64
_MAX_JSON_BYTES = 4 * 1024 * 1024
# With more all frames are key frames, and would have to be decoded to look for shots.
_MOST_KEYS_PER_S = 3
_MAX_RATE = 125  # packets of video per second of the longest film, for a bound on memory

_STREAMS = (
    "stream=index,codec_type,codec_name,width,height,sample_aspect_ratio,pix_fmt,field_order,"
    "r_frame_rate,avg_frame_rate,nb_frames,channels,sample_rate,color_space,color_transfer,"
    "color_primaries:stream_disposition=default,attached_pic,forced,hearing_impaired:"
    "stream_tags=language:stream_side_data=rotation:format=format_name,duration,start_time:program_stream=index"
)
_FRAMES = "frame=best_effort_timestamp_time,interlaced_frame"
_PACKETS = "packet=stream_index,pts_time,dts_time,duration_time,size,flags"


async def probe(folder: Path, settings: EncoderSettings) -> Source:
    """What `folder/master` is. Raises Problem: `empty_file`, `forbidden_format`, `not_a_video`,
    `truncated_file`, or `encode_timeout`."""
    head = await asyncio.to_thread(_refuse_unread, folder / MASTER)
    try:
        described = await _json(folder, settings, _STREAMS, ["-show_programs"])
        film = choose_video(described)
        packets = await _packets(folder, settings, film["index"])
        first = ["-select_streams", str(film["index"]), "-read_intervals", f"%+#{_HEAD_PACKETS}"]
        frames = (await _json(folder, settings, _FRAMES, first)).get("frames", [])
    except ChildFailed as failed:
        raise _refused(failed, head) from failed
    source = interpret(
        described,
        packets,
        frames,
        max_duration_s=settings.max_duration_s,
        max_pixels=settings.max_pixels,
    )
    if packets.keys > source.duration_s * _MOST_KEYS_PER_S:
        return source
    return replace(source, shots_s=await _shots(folder, source, settings))


async def _shots(folder: Path, source: Source, settings: EncoderSettings) -> tuple[float, ...]:
    """When its shots begin; nothing, where that cannot be seen: the encode will say why."""
    options = input_options(settings.max_pixels)
    argv = shots_argv(programs.ffmpeg(), MASTER, options, source.video_index)
    lines: list[str] = []
    try:
        limits = settings.limits(settings.probe_timeout_s)
        await run_child(argv, limits=limits, cwd=folder, on_line=lines.append)
    except ChildFailed as failed:
        logger().warning("no_shots", stderr=failed.stderr[-500:])
        return ()
    return shot_starts(lines, source.cadence.start_s)


def _refuse_unread(master: Path) -> bytes:
    """The first bytes of a file that may be a film, all of which is there."""
    size = master.stat().st_size
    with master.open("rb") as file:
        head = file.read(HEAD_BYTES)
        refuse_head(head)
        missing = missing_bytes(file, size)
    if missing:
        raise Problem(
            "truncated_file", f"The file is cut off: at least {missing} bytes of it are missing."
        )
    return head


async def _packets(folder: Path, settings: EncoderSettings, video_index: int) -> Packets:
    packets = Packets(video_index, max_frames=int(settings.max_duration_s * _MAX_RATE))
    argv = _argv(settings, "-of", "csv=p=0", "-show_entries", _PACKETS)
    limits = settings.limits(settings.probe_timeout_s)
    await run_child(argv, limits=limits, cwd=folder, on_line=packets.add)
    return packets


async def _json(
    folder: Path, settings: EncoderSettings, entries: str, more: list[str]
) -> dict[str, Any]:
    argv = _argv(settings, "-of", "json", *more, "-show_entries", entries)
    limits = settings.limits(settings.probe_timeout_s)
    raw = await run_child(argv, limits=limits, cwd=folder, max_output_bytes=_MAX_JSON_BYTES)
    return dict(json.loads(raw))


def _argv(settings: EncoderSettings, *arguments: str) -> list[str]:
    named = input_options(settings.max_pixels)
    options = [part for name, value in named.items() for part in (f"-{name}", value)]
    return [programs.ffprobe(), "-v", "error", *options, *arguments, MASTER]


def _refused(failed: ChildFailed, head: bytes) -> Problem:
    """What ffprobe would not open, in a plain sentence."""
    if isinstance(failed, ChildTimeout):
        return Problem("encode_timeout", "The file took too long to read.")
    if "not on whitelist" in failed.stderr:
        return Problem("not_a_video", "The file is not of a video format that is taken.")
    if starts_like_a_film(head):
        return Problem("truncated_file", "The file is cut off or damaged: it cannot be opened.")
    return Problem("not_a_video")
