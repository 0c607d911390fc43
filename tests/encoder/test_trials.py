"""What is tried of a film, and one real ladder of its own."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from encoder.cadence import Cadence
from encoder.conformance import check_package
from encoder.excerpts import excerpts
from encoder.farm import Here
from encoder.ffmpeg import MASTER
from encoder.pieces import Kept
from encoder.pipeline import Workshop, encode
from encoder.probe import probe
from encoder.settings import EncoderSettings
from encoder.source import Colour, Source
from encoder.trials import MAX_TRIALS, MOST_EXCERPTS, plan, reel_argv
from encoder.vmaf import read_log, summary
from media.file_store import FileStore
from media.ids import new_id
from runtime.child import Limits, run_child
from runtime.errors import Problem
from tests.encoder_films import ffmpeg, make_film

AUTO = EncoderSettings(preset="ultrafast", ladder="auto")


def source(width: int, height: int, seconds: int) -> Source:
    return Source(
        video_index=0,
        width=width,
        height=height,
        cadence=Cadence(Fraction(25), 25 * seconds, 0.0, variable=False),
        interlaced=False,
        colour=Colour(),
        audio=(),
        activity=tuple(1000 * (n % 7) for n in range(seconds)),
    )


def test_excerpts_are_quiet_and_busy_ones_alike() -> None:
    activity = [10] * 20 + [1000] * 10 + [100] * 30  # seconds 0, 20, 30
    assert excerpts(activity, 60, 2, 3) == [10, 20, 40]
    assert excerpts(activity, 60, 2, 1) == [40]
    assert len(excerpts(activity, 60, 2, 100)) == 30
    assert excerpts([], 5, 2, 2) == [0, 2]
    assert excerpts([5], 1, 1, 3) == [0]


@pytest.mark.parametrize("seconds", [1, 5, 70, 6 * 3600])
@pytest.mark.parametrize("size", [(256, 144), (1280, 720), (1080, 1920), (4096, 2160)])
def test_a_plan_is_bounded(size: tuple[int, int], seconds: int) -> None:
    tried = plan(source(*size, seconds), gop_s=2.0)
    assert 1 <= len(tried.wanted) <= MAX_TRIALS
    assert 1 <= len(tried.starts_s) <= MOST_EXCERPTS
    assert tried.starts_s[-1] + tried.gop_frames / 25 <= seconds + 1e-6
    first, end = tried.judged
    assert 0 <= first < end <= tried.gop_frames
    assert max(height for height, _ in tried.wanted) <= size[1]


def test_a_log_of_too_few_frames_is_none() -> None:
    log = json.dumps({"frames": [{"metrics": {"vmaf": 90.0}}] * 3}).encode()
    assert read_log(log, 3) == [90, 90, 90]
    for raw in (log[:-5], b"{}", log):
        with pytest.raises(ValueError):
            read_log(raw, 4)


def test_scores_in_short() -> None:
    told = summary([50.0, *[90.0] * 99])
    assert told.mean == pytest.approx(89.6) and told.frames == 100
    assert told.harmonic_mean < told.mean and told.percentile_1 == pytest.approx(89.6, abs=0.5)
    assert summary([70.0]).percentile_1 == 70


async def test_a_film_gets_a_ladder_of_its_own(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", seconds=4, size="640x360")
    made = await encode(film, tmp_path / "package", new_id("ttl"), new_id("pkg"), AUTO)
    told = json.loads((tmp_path / "package" / "report" / "ladder.json").read_bytes())
    videos = [r for r in made.inventory.renditions if r.kind == "video"]
    assert [r.rendition_id for r in videos] == [rung["rendition_id"] for rung in told["rungs"]]
    assert len(told["trials"]) == 6 and len(videos) > 1
    assert told["words"][0].startswith("6 trial encodes")
    for rung, rendition in zip(told["rungs"], videos, strict=True):
        assert rendition.height == rung["height"]
        assert rendition.average_bandwidth == pytest.approx(rung["bps"], rel=0.5)
    assert (tmp_path / "package" / "report" / "ladder.svg").read_text().startswith("<svg")
    assert (await check_package(tmp_path / "package")).ok
    assert {path.name for path in tmp_path.iterdir()} == {"film.mkv", "package"}


async def test_trials_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = make_film(tmp_path / "film.mkv", seconds=1, size="320x180")
    shop = Workshop(Here(), Kept(FileStore(tmp_path / "kept"), "pkg"))
    ids = new_id("ttl"), new_id("pkg")
    first = await encode(film, tmp_path / "a", *ids, AUTO, workshop=shop)

    async def broken(*_: object) -> None:
        raise Problem("encode_failed", "It was tried again.")

    monkeypatch.setattr("encoder.trials.try_out", broken)
    second = await encode(film, tmp_path / "b", *ids, AUTO, workshop=shop)
    assert second.inventory_sha256 == first.inventory_sha256
    assert (tmp_path / "b" / "report" / "ladder.json").exists()
    for path in (tmp_path / "kept").glob("work/pkg/trials-*.json"):
        path.write_bytes(b"[{}]")
    third = await encode(film, tmp_path / "c", *ids, AUTO, workshop=shop)  # cannot be read
    assert third.inventory_sha256 != first.inventory_sha256


def test_a_plan_of_a_film_without_activity() -> None:
    assert plan(replace(source(1280, 720, 30), activity=()), 2.0).starts_s


async def test_a_film_that_holds_one_picture_for_long_is_tried(tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    argv = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=24:d=10", "-vf"]
    argv += ["select='lt(t,1)+gt(t,9.8)'", "-fps_mode", "vfr", "-c:v", "libx264"]
    ffmpeg(*argv, "-preset", "ultrafast", film)
    made = await encode(film, tmp_path / "package", new_id("ttl"), new_id("pkg"), AUTO)
    assert made.inventory.duration_s == pytest.approx(10, abs=0.2)
    assert (tmp_path / "package" / "report" / "ladder.json").exists()


async def test_a_film_whose_trials_fail_has_the_fixed_ladder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise Problem("encode_failed", "A trial encode was not judged.")

    monkeypatch.setattr("encoder.trials.try_out", broken)
    film = make_film(tmp_path / "film.mkv", seconds=1, size="320x180")
    made = await encode(film, tmp_path / "package", new_id("ttl"), new_id("pkg"), AUTO)
    assert [r.rendition_id for r in made.inventory.renditions if r.kind == "video"] == ["v-avc-180"]
    assert not (tmp_path / "package" / "report" / "ladder.json").exists()


async def test_what_is_tried_is_the_same_in_every_container(tmp_path: Path) -> None:
    """In a transport stream, too, which begins at 1.4 s and cannot be sought."""
    film = make_film(tmp_path / "film.mkv", seconds=6, size="320x180")
    found = []
    for ending in ("mkv", "ts"):
        folder = tmp_path / ending
        folder.mkdir()
        ffmpeg("-i", film, "-c", "copy", folder / f"film.{ending}")
        (folder / f"film.{ending}").rename(folder / MASTER)
        master = await probe(folder, AUTO)
        wanted = replace(plan(master, 1.0), starts_s=(1.0, 2.0, 5.0))  # of one key frame
        argv = reel_argv(master, wanted, AUTO.max_pixels)
        await run_child(argv, limits=Limits(), cwd=folder)
        found.append(ffmpeg("-i", folder / "reel.mp4", "-f", "framemd5", "-"))
        assert found[-1].count(b"\n0,") == 3 * 24
    assert found[0] == found[1]


def test_excerpts_lie_within_a_shot() -> None:
    shots = (0.0, 5.0, 10.05, 11.9)
    assert excerpts([1] * 16, 16, 2, 8, shots) == [float(n) for n in range(0, 16, 2)]  # all of it
    assert excerpts([1] * 16, 16, 2, 7, shots) == [0.0, 2.0, 6.0, 8.0, 10.0, 12.0, 14.0]


async def test_shots_are_found(tmp_path: Path) -> None:
    """Of three seconds each, the film beginning at 1.4 s of its file."""
    cards = [f"{card}=s=320x180:r=24:d=3" for card in ("smptebars", "testsrc2", "rgbtestsrc")]
    inputs = [part for card in cards for part in ("-f", "lavfi", "-i", card)]
    graph = "[0][1][2]concat=n=3,format=yuv420p"
    ffmpeg(*inputs, "-filter_complex", graph, "-t", "9", "-c:v", "libx264", tmp_path / "a.ts")
    (tmp_path / "a.ts").rename(tmp_path / MASTER)
    found = await probe(tmp_path, AUTO)
    assert found.shots_s == pytest.approx((0, 3, 6), abs=0.05)
    (tmp_path / MASTER).unlink()
    ffmpeg(*inputs[:4], "-c:v", "mjpeg", tmp_path / "a.mkv")
    (tmp_path / "a.mkv").rename(tmp_path / MASTER)
    assert (await probe(tmp_path, AUTO)).shots_s == ()  # all are key frames
