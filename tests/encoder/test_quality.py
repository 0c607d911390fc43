"""How good a package looks is measured, told, and a condition."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from encoder.chunks import Entry
from encoder.hull import Point
from encoder.package import Encoded
from encoder.pipeline import encode
from encoder.quality import Judged, below, stretches
from encoder.recipe import make_recipe
from encoder.settings import EncoderSettings
from encoder.vmaf import Vmaf
from media.ids import new_id
from media.ladder import Ladder, Rung
from runtime.errors import Problem
from tests.encoder.test_ladder_choice import source
from tests.encoder_films import ffmpeg, make_film

GOOD = Ladder(
    rungs=(Rung(height=90, max_bps=4_000_000, crf=18), Rung(height=180, max_bps=8_000_000, crf=12)),
    gop_s=0.5,
    segment_gops=2,
)


async def made(film: Path, out: Path, **settings: object) -> Encoded:
    chosen = EncoderSettings.model_validate({"preset": "ultrafast", "chunk_s": 2} | settings)
    return await encode(film, out, new_id("ttl"), new_id("pkg"), chosen, ladder=GOOD)


def judged(name: str, mean: float) -> Judged:
    return Judged(name, Vmaf(mean, mean, mean, 50), mean, ((0.0, mean),))


def test_what_is_judged() -> None:
    film = source(1280, 720)
    film = replace(film, cadence=replace(film.cadence, frames=15_000), seekable=True)
    film = replace(
        film, entries=tuple(Entry(float(n), float(n)) for n in range(600)), activity=(1,) * 600
    )
    recipe = make_recipe(film, Ladder(rungs=(Rung(height=720, max_bps=1_000_000),)))
    some = stretches(recipe, "sampled")
    assert len(some) == 25 and {chunk.frames for chunk in some} == {12}
    assert {chunk.first % recipe.gop_frames for chunk in some} == {19}
    assert [chunk.first for chunk in some] == sorted({chunk.first for chunk in some})
    whole = stretches(recipe, "full")
    assert sum(chunk.frames for chunk in whole) == 15_000


def test_below_the_floor() -> None:
    rungs = [judged("v-avc-90", 25.0), judged("v-avc-180", 60.0)]
    assert below(rungs, {}, 30.0) is None  # it is the best one that counts
    assert "the floor is 61" in str(below(rungs, {}, 61.0))
    promised = {"v-avc-180": Point(180, 23.0, 1e6, 85.0)}
    assert "trials had 85.0" in str(below(rungs, promised, 0.0))
    assert below(rungs, {"v-avc-180": Point(180, 23.0, 1e6, 75.0)}, 0.0) is None
    assert below([], {}, 30.0) is None


FILMS = {
    "constant": ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=24000/1001:d=5"],
    "variable": ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=30:d=5,select='mod(n,7)'",
                 "-fps_mode", "vfr"],
    "fields": ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=50:d=5,tinterlace=4,fieldorder=tff",
               "-flags", "+ildct+ilme"],
}  # fmt: skip


@pytest.mark.parametrize("name", FILMS)
async def test_frames_are_compared_with_their_own(name: str, tmp_path: Path) -> None:
    """A test card moves so fast that a frame of shift costs a third."""
    film = tmp_path / "film.mp4"
    ffmpeg(*FILMS[name], "-c:v", "libx264", "-preset", "ultrafast", "-crf", "10", film)
    await made(film, tmp_path / "out", quality="full")
    told = json.loads((tmp_path / "out" / "report" / "quality.json").read_bytes())
    low, high = told["rungs"]
    assert (low["rendition_id"], high["rendition_id"]) == ("v-avc-90", "v-avc-180")
    assert high["mean"] > 93 and high["percentile_1"] > 85 and high["frames"] >= 115
    assert 20 < low["mean"] < high["mean"] and low["least"] <= low["percentile_1"]
    assert len(high["stretches"]) == 1


async def test_the_page_says_what_was_found(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", seconds=3, size="320x180")
    one = await made(film, tmp_path / "out")
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    for word in ("320×180", "72 frames", "v-avc-180", "und", "a-aac-und", "<svg", "VMAF"):
        assert word in page
    assert "<script" not in page and "http" not in page.replace("http://www.w3.org/2000/svg", "")
    listed = {entry.path for entry in one.inventory.files}
    assert {"report/index.html", "report/quality.json"} <= listed


async def test_what_is_below_the_floor_is_not_published(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", seconds=1, size="320x180")
    with pytest.raises(Problem, match=r"the floor is 100 \(encoder.quality_floor\)") as refused:
        await made(film, tmp_path / "out", quality_floor=100)
    assert refused.value.code == "below_quality"
    assert [path.name for path in tmp_path.iterdir()] == ["film.mkv"]
    await made(film, tmp_path / "out", quality="off", quality_floor=100)
    assert json.loads((tmp_path / "out" / "report" / "quality.json").read_bytes())["rungs"] == []
