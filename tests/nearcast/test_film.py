"""The demo's film is what it says: scenes, a timecode, sound."""

from pathlib import Path

import imageio_ffmpeg

from nearcast.film import RATE, SCENES, make_film
from runtime.child import run_child


async def test_a_short_one(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    await make_film(film, scene_s=1)
    argv = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(film), "-f", "framecrc", "-"]
    said = (await run_child(argv)).decode()
    rows = [line.split(",") for line in said.splitlines() if not line.startswith("#")]
    pictures = [row[-1].strip() for row in rows if row[0] == "0"]
    assert len(pictures) == RATE * len(SCENES)
    assert len(set(pictures)) == len(pictures)  # the timecode makes every frame another
    assert any(row[0] == "1" for row in rows)
    assert list(tmp_path.iterdir()) == [film]
