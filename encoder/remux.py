"""A master whose container cannot be sought is copied into one that can, its packets as they are.

Chunks are decoded from key frames in the middle. In a transport stream a seek lands somewhere near;
in Matroska, which takes nearly everything, it lands on the frame.
"""

from dataclasses import replace
from pathlib import Path

import ffmpeg

from encoder.ffmpeg import MASTER, input_options
from encoder.probe import probe
from encoder.settings import EncoderSettings
from encoder.source import Source
from runtime import programs
from runtime.child import ChildFailed, run_child
from runtime.errors import Problem
from runtime.log import logger

_COPY = "seekable"


async def remuxed(folder: Path, source: Source, settings: EncoderSettings) -> Source:
    """`folder/master` can be sought, and is the film described; or else, where the copy would be
    another film, it is what it was, and so is the answer. Raises Problem `encode_timeout`."""
    copy = folder / _COPY
    copy.mkdir()
    size = (folder / MASTER).stat().st_size
    limits = settings.limits(settings.probe_timeout_s, 2 * size + (16 << 20))
    try:
        await run_child(_argv(source, settings.max_pixels), limits=limits, cwd=folder)
        found = await probe(copy, settings)
    except (ChildFailed, Problem) as failed:
        logger().warning("not_remuxed", error=str(failed))
        (copy / MASTER).unlink(missing_ok=True)
        return source
    if not found.seekable or _film(found) != _film(source):
        logger().warning("not_remuxed", error="the copy is another film")
        (copy / MASTER).unlink()
        return source
    (folder / MASTER).unlink()
    (folder / MASTER).symlink_to(copy / MASTER)
    # What was not copied was read from the original, or passed over there.
    return replace(found, texts=(), passed_over=source.passed_over)


def _argv(source: Source, max_pixels: int) -> list[str]:
    master = ffmpeg.input(MASTER, **input_options(max_pixels))
    indices = [source.video_index, *(track.index for track in source.audio)]
    copied = ffmpeg.output(
        *(master[str(index)] for index in indices),
        f"{_COPY}/{MASTER}",
        c="copy",
        f="matroska",
        map_metadata=-1,
        map_chapters=-1,
    )
    command = copied.global_args("-hide_banner", "-nostdin", "-loglevel", "error", "-xerror")
    return list(command.compile(cmd=programs.ffmpeg()))


def _film(source: Source) -> tuple[object, ...]:
    """What has to be the same."""
    rhythm = source.cadence
    sound = [(track.channels, track.language) for track in source.audio]
    size = (source.width, source.height, source.interlaced)
    return rhythm.rate, rhythm.frames, size, source.colour, sound
