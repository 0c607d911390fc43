"""Where a film's shots begin, as far as its own key frames tell.

Encoders put a key frame where a shot begins. Only those are decoded, small, and each is compared
with the one before, by the mean difference of their luma: that costs hundredths of what the encode
will, where a look at every frame would cost as much as the fastest rung. (ffmpeg's own measure of a
change of scene looks for a difference between one that is small and one that is not, and so passes
over a cut after a cut.)
"""

import re
from collections.abc import Iterable

import ffmpeg

# Of 255. Of 24 cuts that a look at every frame finds in two films, this finds 20, and 7 that are
# fades and fast motion: for choosing excerpts that is enough.
_CHANGED = 36.0
_WIDTH = 160
_TIME = re.compile(r"pts_time:(-?[0-9.]+)")
_DIFFERENCE = re.compile(r"lavfi\.signalstats\.YDIF=([0-9.]+)")


def shots_argv(
    program: str, master: str, options: dict[str, object], video_index: int
) -> list[str]:
    """The command that prints what `shot_starts` reads."""
    film = ffmpeg.input(master, **options, skip_frame="nokey")[str(video_index)]
    small = film.filter("scale", _WIDTH, -2, flags="fast_bilinear")
    told = small.filter("signalstats").filter(
        "metadata", mode="print", key="lavfi.signalstats.YDIF", file="-"
    )
    out = told.output("-", f="null", fps_mode="passthrough")
    command = out.global_args("-hide_banner", "-nostdin", "-loglevel", "error", "-copyts")
    return list(command.compile(cmd=program))


def shot_starts(lines: Iterable[str], start_s: float) -> tuple[float, ...]:
    """When shots begin, in seconds of the film, which itself begins at `start_s` of the file; the
    first one at 0."""
    starts, at_s = [0.0], 0.0
    for line in lines:
        if found := _TIME.search(line):
            at_s = float(found[1]) - start_s
        elif (
            (found := _DIFFERENCE.search(line))
            and float(found[1]) >= _CHANGED
            and at_s > starts[-1]
        ):
            starts.append(at_s)
    return tuple(starts)
