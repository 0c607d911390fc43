"""From a master's pictures to those of a rung: filters. Pure."""

from ffmpeg.nodes import FilterableStream

from encoder.source import Source


def conformed(
    pictures: FilterableStream, source: Source, frames: int, first: int = 0
) -> FilterableStream:
    """The decoded film, `frames` frames of it from `first` on, as every rung takes it: progressive
    and of constant rate."""
    # In front of the rest: what we read is said where the master does not say it.
    if unsaid := _unsaid(source):
        pictures = pictures.filter("setparams", **unsaid)
    if source.interlaced:
        # One frame for each frame, not for each field; frames that are progressive pass.
        pictures = pictures.filter("bwdif", mode="send_frame", parity="auto", deint="interlaced")
    rate = f"{source.frame_rate.numerator}/{source.frame_rate.denominator}"
    # To the grid of `cadence`: for a film of constant rate neither drops nor doubles a frame.
    start_s = float(first / source.frame_rate)
    pictures = pictures.filter("fps", fps=rate, start_time=start_s, round="near")
    # The last frame's length is a guess of the demuxer: one frame of grace, then the exact end.
    pictures = pictures.filter("tpad", stop=1, stop_mode="clone")
    return pictures.filter("trim", end_frame=frames).filter("setpts", "PTS-STARTPTS")


def in_sdr(pictures: FilterableStream, source: Source) -> FilterableStream:
    """The film in standard dynamic range: HDR in BT.709, for 8-bit AVC: linear light, then Hable's
    curve (which keeps shadows)."""
    if not source.colour.hdr:
        return pictures
    return (
        pictures.filter("zscale", t="linear", npl=100)
        .filter("format", "gbrpf32le")
        .filter("zscale", p="bt709")
        .filter("tonemap", "hable", desat=0)
        .filter("zscale", t="bt709", m="bt709", r="tv")
        .filter("format", "yuv420p")
    )


def scaled(
    pictures: FilterableStream, source: Source, size: tuple[int, int], *, hdr: bool = False
) -> FilterableStream:
    """The conformed film in this size: as every decoder plays it, or in its own high dynamic range
    with ten bits."""
    width, height = size
    return (
        pictures.filter(
            "scale",
            width,
            height,
            flags="bicubic",
            out_color_matrix="bt2020nc" if hdr else _matrix(source),
            out_range="tv",
        )
        .filter("format", "yuv420p10le" if hdr else "yuv420p")
        .filter("setsar", 1)  # the pixels were squared by `scale`
    )


# Colours

_MATRICES = {"bt709": "bt709", "smpte170m": "smpte170m", "bt470bg": "bt470bg", "fcc": "fcc",
             "smpte240m": "smpte240m", "bt2020nc": "bt2020nc"}  # fmt: skip


def _matrix(source: Source) -> str:
    """The matrix of every rung: the film's own, or what players assume at its size."""
    if source.colour.hdr:
        return "bt709"
    return _MATRICES.get(source.colour.matrix or "", _assumed(source))


def _assumed(source: Source) -> str:
    return "bt709" if source.height >= 720 or source.width >= 1280 else "smpte170m"


def _unsaid(source: Source) -> dict[str, str]:
    """What frames are marked as besides what the master says of them.

    A film that says nothing is what its size suggests, and all rungs say so: or a player would
    guess anew for each, and colours shift when it changes rungs.
    """
    colour, assumed = source.colour, _assumed(source)
    wide = "bt2020" if colour.hdr else assumed
    matrix = "bt2020nc" if colour.hdr else assumed
    wanted = {
        "color_primaries": (colour.primaries, wide),
        "color_trc": (colour.transfer, assumed),
        "colorspace": ("gbr" if colour.rgb else colour.matrix, matrix),
    }
    return {name: value for name, (said, value) in wanted.items() if said is None}
