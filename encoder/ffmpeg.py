"""What ffmpeg is told, and what it says. Pure: argv out, lines and messages in.

One process decodes a chunk once and encodes every rung of it: that fills all cores of a small
machine, where a process for each rung would decode as often as there are rungs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import ffmpeg
from ffmpeg.nodes import FilterableStream, OutputStream

from encoder.chunks import Chunk
from encoder.codecs import Coding, codec_options
from encoder.pictures import conformed, in_sdr, scaled
from encoder.recipe import SAMPLE_RATE, AudioOutput, Recipe, VideoOutput
from encoder.source import Source
from media.ladder import AudioCodec
from runtime.child import ChildFailed, ChildTimeout
from runtime.errors import Problem

# Real containers only, by the names of `ffmpeg -demuxers`. Never hls, dash, concat, imf, sdp or
# image2: those read other files, and a master could so make us read ours (STANDARDS.md).
DEMUXERS = (
    "mov", "matroska", "webm", "mpegts", "mpeg", "avi", "flv", "asf", "mxf", "ogg", "ivf",
    "yuv4mpegpipe",
)  # fmt: skip
MASTER = "master"  # what a master is called where it is worked on, whatever it was before
# Read from an object store: what is asked for, and no more; a connection that breaks is made anew.
_AT_ADDRESS = {
    "protocol_whitelist": "http,https,tcp,tls",
    "rw_timeout": 30_000_000,
    "reconnect": 1,
    "reconnect_on_network_error": 1,
    "reconnect_delay_max": 5,
}


def input_options(max_pixels: int, master: str = MASTER) -> dict[str, Any]:
    """How every program opens a master, a file unless it is an address, and decodes pictures of at
    most `max_pixels`."""
    at_address = master.startswith(("http://", "https://"))
    return {
        **(_AT_ADDRESS if at_address else {"protocol_whitelist": "file"}),
        "format_whitelist": ",".join(DEMUXERS),
        # Sound that begins late in a transport stream is still found.
        "probesize": "50M",
        "analyzeduration": "20M",
        # Containers lie: a header of 160 × 160 in front of pictures of 16,000 × 16,000, or a
        # picture that grows midway.
        "max_pixels": str(max_pixels),
    }


def pictures_argv(
    program: str,
    recipe: Recipe,
    chunk: Chunk,
    master: str,
    *,
    preset: str,
    threads: int,
    max_pixels: int,
) -> list[str]:
    """The command that makes `{rendition_id}.mp4` of every rung, of one chunk of the master."""
    source = recipe.source
    pictures = conformed(
        master_input(source, max_pixels, chunk.seek_s, master)[str(source.video_index)],
        source,
        chunk.run_up + chunk.frames,
        chunk.first - chunk.run_up,
    )
    # The chunk begins at zero, and what is encoded in front of it before that.
    pictures = pictures.filter("setpts", f"PTS-{chunk.run_up}/(FR*TB)")
    outputs = []
    # Where both are wanted, the film is tone-mapped once, and its own range is kept beside it.
    ranges = [hdr for hdr in (False, True) if any(rung.hdr == hdr for rung in recipe.video)]
    for hdr, film in zip(ranges, copies(pictures, len(ranges)), strict=True):
        rungs = [rung for rung in recipe.video if rung.hdr == hdr]
        shown = film if hdr else in_sdr(film, source)
        for rung, copy in zip(rungs, copies(shown, len(rungs)), strict=True):
            outputs.append(_video(copy, rung, recipe, chunk, preset=preset, threads=threads))
    return _encode_argv(program, outputs)


def copies(pictures: FilterableStream, count: int) -> list[FilterableStream]:
    """The same stream for several filters: ffmpeg wants a label used once."""
    if count == 1:
        return [pictures]
    split = pictures.filter_multi_output("split", count)
    return [split.stream(number) for number in range(count)]


def sound_argv(
    program: str,
    recipe: Recipe,
    track: AudioOutput,
    master: str,
    gain_db: float,
    *,
    max_pixels: int,
) -> list[str]:
    """The command that makes `{rendition_id}.mp4` of a sound track, all of it, this much louder."""
    sound = _sound(master_input(recipe.source, max_pixels, None, master), track, recipe)
    if gain_db:
        sound = sound.filter("volume", f"{gain_db}dB")
    coded = sound.output(
        f"{track.rendition_id}.mp4",
        **_AUDIO[track.codec],
        **{"b:a": track.bps, "flags:a": "+bitexact"},
        **_plain_file(),
    )
    return _encode_argv(program, [coded])


def loudness_argv(
    program: str, recipe: Recipe, track: AudioOutput, master: str, *, max_pixels: int
) -> list[str]:
    """The command that prints how loud the same track is (`loudness.Loudness`)."""
    sound = _sound(master_input(recipe.source, max_pixels, None, master), track, recipe)
    measured = sound.filter("ebur128", peak="true", metadata=1)
    measured = measured.filter("ametadata", mode="print", file="-")
    command = measured.output("-", f="null").global_args(
        "-hide_banner", "-nostdin", "-loglevel", "error", "-xerror"
    )
    return list(command.compile(cmd=program))


def master_input(
    source: Source, max_pixels: int, seek_s: float | None = None, master: str = MASTER
) -> FilterableStream:
    """The master, a file or an address, from its beginning or the key frame at `seek_s`."""
    options: dict[str, Any] = input_options(max_pixels, master)
    if seek_s is not None:
        # In the container's own time, as all of ours is; what is decoded too early, `fps` drops.
        options |= {"ss": f"{seek_s:.6f}", "seek_timestamp": 1, "noaccurate_seek": None}
    return ffmpeg.input(
        master,
        **options,
        # Keep the container's own times, and shift them so that the first frame is at zero: then
        # nothing guesses, and sound keeps its distance to the pictures.
        copyts=None,
        itsoffset=f"{-source.cadence.start_s:.6f}",
        # A picture that changes its size midway is scaled like the rest. Filters made anew would
        # count frames from zero again.
        reinit_filter=0,
    )


def _encode_argv(program: str, outputs: list[OutputStream]) -> list[str]:
    command = ffmpeg.merge_outputs(*outputs).global_args(
        "-hide_banner",
        "-nostdin",
        "-loglevel", "error",
        # Damage ends the encode: half a film must not be published as a whole one.
        "-xerror",
        "-progress", "pipe:1",
        "-stats_period", "0.5",
    )  # fmt: skip
    return list(command.compile(cmd=program))


def join_argv(program: str, rendition_id: str, listed: str, timescale: int) -> list[str]:
    """The command that makes `{rendition_id}.mp4` of the chunks that the file `listed` names."""
    chunks = ffmpeg.input(listed, f="concat", protocol_whitelist="file", safe=0)
    whole = chunks["v:0"].output(
        f"{rendition_id}.mp4",
        **{"c": "copy", "flags:v": "+bitexact"},
        video_track_timescale=timescale,
        **_plain_file(),
    )
    command = whole.global_args("-hide_banner", "-nostdin", "-loglevel", "error", "-xerror", "-y")
    return list(command.compile(cmd=program))


def joined(names: Sequence[str], lengths_s: Sequence[Fraction]) -> str:
    """What `join_argv` reads: files and how long each lasts. The demuxer counts microseconds, and
    those that it finds in a file end with the last decoding time."""
    lines = ["ffconcat version 1.0"]
    for name, length_s in zip(names, lengths_s, strict=True):
        lines += [f"file {name}", f"duration {float(length_s):.6f}"]
    return "\n".join(lines) + "\n"


def _video(
    pictures: FilterableStream,
    rung: VideoOutput,
    recipe: Recipe,
    chunk: Chunk,
    *,
    preset: str,
    threads: int,
) -> OutputStream:
    size = (rung.width, rung.height)
    begin: dict[str, Any] = {}
    if chunk.run_up:
        begin = {"force_key_frames": f"expr:eq(n,{chunk.run_up})", "bsf:v": _FROM_ZERO}
    return scaled(pictures, recipe.source, size, hdr=rung.hdr).output(
        f"{rung.rendition_id}.mp4",
        **codec_options(
            rung.codec,
            Coding(rung.crf, rung.max_bps, recipe.gop_frames, preset, threads, rung.bps),
        ),
        video_track_timescale=recipe.timescale,
        **begin,
        **_plain_file(),
    )


def _sound(master: FilterableStream, track: AudioOutput, recipe: Recipe) -> FilterableStream:
    """A track as it is encoded: as long as the pictures."""
    sound, samples = master[str(track.stream_index)], recipe.audio_samples
    if track.stream_channels == 1 and track.channels == 2:
        # Both sides as loud as the one: the usual mix would take 3 dB away.
        sound = sound.filter("channelmap", map="0-FL|0-FR", channel_layout="stereo")
    # Gaps become silence, and what begins late or early is padded or cut to begin at zero.
    sound = sound.filter("aresample", SAMPLE_RATE, **{"async": 1}, first_pts=0)
    sound = sound.filter("aformat", channel_layouts=_LAYOUTS[track.channels])
    return sound.filter("apad", whole_len=samples).filter("atrim", end_sample=samples)


# Packets in front of zero are dropped.
_FROM_ZERO = r"noise=drop=lt(pts\,0)"
_AUDIO: Mapping[AudioCodec, dict[str, Any]] = {
    "aac": {
        "c:a": "aac",
        # The encoder's first frame holds its delay and nothing else. Without it sound starts at
        # zero in every player, those included that pass over edit lists.
        "bsf:a": _FROM_ZERO,
        "use_editlist": 0,
    },
    # Its delay is a third of a frame, which the edit list takes away.
    "opus": {"c:a": "libopus"},
}
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


def _plain_file() -> dict[str, Any]:
    """Nothing of the master's tags, chapters or clock in an output."""
    return {"map_metadata": -1, "map_chapters": -1, "fflags": "+bitexact", "f": "mp4"}


# What it says


@dataclass
class ProgressReader:
    """The lines of `-progress`: how many frames are done, and how fast."""

    frames: int
    frame: int = 0
    speed: float | None = None

    def feed(self, line: str) -> bool:
        """Takes a line; True when it ends a block, so that the numbers are new."""
        key, _, value = line.partition("=")
        if key == "frame" and value.strip().isdecimal():
            self.frame = int(value)
        elif key == "speed":
            self.speed = _speed(value)
        return key == "progress"

    @property
    def fraction(self) -> float:
        """From 0 to 1."""
        return min(self.frame / self.frames, 1.0) if self.frames else 0.0


def _speed(text: str) -> float | None:
    try:
        return float(text.strip().removesuffix("x"))
    except ValueError:
        return None


_EXPLAINED: Sequence[tuple[tuple[str, ...], str, str]] = (
    (("No space left on device",), "disk_full", "The disk is full: the film did not fit."),
    (("Cannot allocate memory", "bad_alloc"), "encode_failed", "The encode ran out of memory."),
    (
        ("Decoder not found", "no decoder found", "Decoder (codec"),
        "not_a_video",
        "The film's codec cannot be decoded here.",
    ),
    (
        ("Changing audio frame properties",),
        "not_a_video",
        "The film's sound changes its channels or its rate midway; that is not taken.",
    ),
    (
        ("exceeds specified max pixel count",),
        "not_a_video",
        "The film has pictures that are larger than is taken here.",
    ),
    (
        ("corrupt", "Invalid data found", "Error submitting packet", "error while decoding",
         "partial file", "Invalid NAL", "prematurely", "Decode error", "Decoding error"),
        "truncated_file",
        "The file is cut off or damaged: it cannot be decoded to its end.",
    ),
)  # fmt: skip


def explain(failed: ChildFailed) -> Problem:
    """A failed encode as the problem that a person can act on."""
    if isinstance(failed, ChildTimeout):
        return Problem("encode_timeout", f"The encode was {failed.stderr}.")
    for signs, code, sentence in _EXPLAINED:
        if any(sign in failed.stderr for sign in signs):
            return Problem(code, sentence)
    return Problem("encode_failed", f"{failed}.")
