"""Small films for the encoder's tests, made by ffmpeg, and what is seen and heard in a package."""

import subprocess
from pathlib import Path

from runtime import programs


def ffmpeg(*arguments: str | Path) -> bytes:
    """What ffmpeg prints; a failure is an error of the test. Any complaint of it is a failure."""
    argv = [programs.ffmpeg(), "-y", "-nostdin", "-v", "error", "-xerror", *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr, done.stderr.decode()
    return done.stdout


def make_film(path: Path, *, seconds: float = 2, size: str = "160x90", rate: str = "24") -> Path:
    """A test card with a tone."""
    ffmpeg(
        "-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}:d={seconds}",
        "-f", "lavfi", "-i", f"sine=f=440:r=48000:d={seconds}",
        "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", path,
    )  # fmt: skip
    return path


def make_flash(path: Path, *, at_s: float, sound_from_s: float) -> Path:
    """Four seconds of black and silence; white and a tone from `at_s` on. The sound track itself
    begins at `sound_from_s`."""
    silent_s = at_s - sound_from_s
    ffmpeg(
        "-f", "lavfi", "-i",
        f"color=black:s=160x90:r=24:d=4,drawbox=t=fill:c=white:enable='gte(t,{at_s})'",
        "-itsoffset", str(sound_from_s), "-f", "lavfi", "-i",
        f"sine=f=880:r=48000:d={4 - sound_from_s},volume=0:enable='lt(t,{silent_s})'",
        "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", path,
    )  # fmt: skip
    return path


def count_frames(media: Path) -> int:
    """Frames that decode."""
    argv = [programs.ffprobe(), "-v", "error", "-count_frames", "-select_streams", "v:0"]
    argv += ["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", str(media)]
    out = subprocess.run(argv, capture_output=True, check=True, timeout=50).stdout
    return int(out.decode().split()[0].strip(","))


def flash_s(playlist: Path, rate: float) -> float:
    """When the picture turns white."""
    pixels = ffmpeg("-i", playlist, "-vf", "scale=1:1,format=gray", "-f", "rawvideo", "-")
    return next(number for number, luma in enumerate(pixels) if luma > 128) / rate


def tone_s(playlist: Path) -> float:
    """When the tone begins."""
    raw = ffmpeg("-i", playlist, "-ac", "1", "-ar", "48000", "-f", "s16le", "-")
    samples = memoryview(raw).cast("h")
    return next(number for number, value in enumerate(samples) if abs(value) > 1000) / 48000
