"""Makes the demo's film: a minute of scenes from easy to hard, a burnt-in timecode, and sound.

Everything comes from ffmpeg's own generators. The timecode is the corner of `testsrc2`, which
brings its own letters, so that no font has to be installed.
"""

from pathlib import Path

import imageio_ffmpeg

from runtime.child import Limits, run_child

RATE = 24
SCENE_S = 10
_SIZE = "1280x720"

# (generator, what makes it easy or hard to encode)
SCENES = (
    (f"testsrc2=s={_SIZE}:r={RATE}", "flat colours, sharp edges, some motion"),
    (f"mandelbrot=s={_SIZE}:r={RATE}:end_pts=500", "a slow zoom into detail"),
    (f"smptehdbars=s={_SIZE}:r={RATE}", "still: costs almost nothing"),
    (
        f"life=s=320x180:r={RATE}:mold=10:ratio=0.3:seed=7:life_color=#c83232:"
        "death_color=#323264,scale=1280:720:flags=neighbor",
        "everything changes in every frame",
    ),
    (f"gradients=s={_SIZE}:r={RATE}:speed=0.02:n=4:seed=3", "soft slopes, prone to banding"),
    (f"sierpinski=s={_SIZE}:r={RATE}:seed=5", "fine lines that travel"),
)


def film_argv(path: Path, scene_s: int = SCENE_S) -> list[str]:
    """The ffmpeg command that makes the film, each scene of `scene_s` seconds."""
    duration_s = scene_s * len(SCENES)
    argv = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-v", "error", "-y"]
    for generator, _ in SCENES:
        argv += ["-f", "lavfi", "-t", str(scene_s), "-i", generator]
    argv += ["-f", "lavfi", "-t", str(duration_s), "-i", f"testsrc2=s=320x180:r={RATE}"]
    tones = f"aevalsrc='0.2*sin(2*PI*(220+40*floor(t/{scene_s}))*t)*exp(-3*mod(t,1))':s=48000"
    argv += ["-f", "lavfi", "-t", str(duration_s), "-i", tones]
    count = len(SCENES)
    graph = [f"[{n}:v]format=yuv420p,setsar=1,settb=1/{RATE}[s{n}]" for n in range(count)]
    graph.append("".join(f"[s{n}]" for n in range(count)) + f"concat=n={count}[scenes]")
    graph.append(f"[{count}:v]crop=100:36:2:2,scale=400:-2:flags=neighbor[code]")
    graph.append("[scenes][code]overlay=40:540[film]")
    argv += ["-filter_complex", ";".join(graph), "-map", "[film]", "-map", f"{count + 1}:a"]
    argv += ["-frames:v", str(duration_s * RATE), "-c:v", "libx264", "-preset", "ultrafast"]
    argv += ["-crf", "18", "-c:a", "aac", "-ac", "2", "-b:a", "160k", "-shortest", str(path)]
    return argv


async def make_film(path: Path, scene_s: int = SCENE_S) -> None:
    """The film is at `path`; about 10 s of work on two cores."""
    temporary = path.with_suffix(".part.mp4")
    try:
        await run_child(film_argv(temporary, scene_s), limits=Limits(timeout_s=600))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
