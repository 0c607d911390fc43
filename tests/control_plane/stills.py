"""Pictures for tests, made by ffmpeg: a few kilobytes each."""

import subprocess
from functools import cache

import imageio_ffmpeg

KINDS = {
    "jpg": ("-c:v", "mjpeg", "-f", "mjpeg"),
    "png": ("-c:v", "png", "-f", "image2pipe"),
    "apng": ("-c:v", "apng", "-f", "apng"),
    "webp": ("-c:v", "libwebp", "-f", "webp"),
    "lossless.webp": ("-c:v", "libwebp", "-lossless", "1", "-f", "webp"),
    "moving.webp": ("-c:v", "libwebp_anim", "-f", "webp"),
    "gif": ("-f", "gif"),
}


@cache
def still(kind: str, size: str = "64x36", hue: int = 0) -> bytes:
    """A picture of this kind; two of those that move."""
    frames = "2" if kind in ("apng", "moving.webp", "gif") else "1"
    argv = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi"]
    argv += ["-i", f"testsrc2=size={size}:rate=2,hue=h={hue}", "-frames:v", frames]
    done = subprocess.run([*argv, *KINDS[kind], "-"], capture_output=True, check=True, timeout=30)
    return done.stdout
