"""Which rungs a film gets."""

from fractions import Fraction
from pathlib import Path

import pytest

from encoder.cadence import Cadence
from encoder.ladder_choice import (
    cap_bps,
    fitted,
    fixed_ladder,
    picture_size,
    read_ladder,
    tried_heights,
)
from encoder.source import AudioTrack, Colour, Source
from media.ladder import Ladder, Rung
from runtime.errors import Problem


def source(width: int, height: int, rate: str = "25", *languages: str) -> Source:
    return Source(
        video_index=0,
        width=width,
        height=height,
        cadence=Cadence(Fraction(rate), 100, 0.0, variable=False),
        interlaced=False,
        colour=Colour(),
        audio=tuple(AudioTrack(n, name, 2) for n, name in enumerate(languages, start=1)),
    )


SIZES = [
    ((1280, 720), "416x234 640x360 768x432 768x432 960x540 1280x720 1280x720"),
    ((1920, 1080), "416x234 640x360 768x432 768x432 960x540 1280x720 1280x720 1920x1080 1920x1080"),
    ((800, 332), "564x234 800x332"),
    ((1080, 1920), "234x416 360x640 432x768 432x768 540x960 720x1280 720x1280 1080x1920 1080x1920"),
    ((640, 480), "312x234 480x360 640x480"),
    ((961, 541), "416x234 640x360 768x432 768x432 960x540"),
    ((1281, 731), "410x234 630x360 758x432 758x432 946x540 1280x730"),
    ((64, 64), "64x64"),
    ((426, 240), "426x240"),
    ((7680, 4320), "416x234 640x360 768x432 768x432 960x540 1280x720 1280x720 1920x1080 1920x1080"
                   " 2560x1440 3840x2160"),
    ((100, 8000), "54x4320"),
]  # fmt: skip


@pytest.mark.parametrize(("size", "rungs"), SIZES)
def test_fixed_ladder(size: tuple[int, int], rungs: str) -> None:
    film = source(*size)
    found = [picture_size(film, rung.height) for rung in fixed_ladder(film).rungs]
    assert [f"{width}x{height}" for width, height in found] == rungs.split()
    for width, height in found:
        assert width % 2 == height % 2 == 0
        assert width <= film.width + 1 and height <= film.height
        # the same shape everywhere, to the nearest even pixel (Apple 1.33)
        assert abs(width - height * film.width / film.height) <= 1.01


def test_the_fixed_ladder_has_apples_rates() -> None:
    rates = [rung.bps for rung in fixed_ladder(source(1920, 1080)).rungs]
    kbps = (145, 365, 730, 1100, 2000, 3000, 4500, 6000, 7800)
    for rate, told in zip(rates, kbps, strict=True):
        assert rate == pytest.approx(told * 1000, rel=0.01)  # 416 is not quite 16/9 of 234
    for size in ((3840, 2160), (1000, 1000), (1280, 800), (854, 480)):
        rates = [rung.bps for rung in fixed_ladder(source(*size)).rungs]
        assert rates == sorted(set(rates))
    assert fixed_ladder(source(1280, 720, "60")).rungs[-1].bps == 6_364_000
    low = [rung.rendition_id for rung in fixed_ladder(source(1280, 720)).rungs][-2:]
    assert low == ["v-avc-720-low", "v-avc-720"]


def test_a_film_is_tried_at_heights_up_to_its_own() -> None:
    assert tried_heights(source(4096, 2160)) == [234, 360, 540, 720, 1080, 1440, 2160]
    assert tried_heights(source(1281, 731)) == [234, 360, 540, 730]
    assert tried_heights(source(720, 1280)) == [416, 640, 960, 1280]


def test_caps_grow_with_the_picture_and_with_motion() -> None:
    film = source(3840, 2160)
    caps = [cap_bps(film, height) for height in tried_heights(film)]
    assert caps == sorted(set(caps))
    assert cap_bps(source(1280, 720), 720) == 3_500_000
    assert cap_bps(source(1280, 720, "60"), 720) > 1.3 * 3_500_000
    # by pixels, not by height: a wide film of few lines has few pixels
    assert cap_bps(source(720, 1280), 1280) == cap_bps(source(1280, 720), 720)


def test_a_silent_film_has_no_audio_rung() -> None:
    assert fixed_ladder(source(640, 360)).audio == ()
    assert fixed_ladder(source(640, 360, "25", "en")).audio is not None


def test_a_given_ladder_is_never_scaled_up() -> None:
    rungs = tuple(Rung(height=height, max_bps=1_000_000) for height in (1080, 360, 719))
    ladder = Ladder(rungs=rungs)
    assert [r.height for r in fitted(ladder, source(1280, 720)).rungs] == [360, 718]
    assert [r.height for r in fitted(ladder, source(320, 241)).rungs] == [240]


def test_a_ladder_file(tmp_path: Path) -> None:
    path = tmp_path / "ladder.toml"
    path.write_text("gop_s = 1\n[[rungs]]\nheight = 240\nmax_bps = 300000\n")
    assert read_ladder(path).rungs[0].rendition_id == "v-avc-240"
    for text in ("[[rungs]]\nheight = 240\n", "rungs = [", "[[rungs]]\nheigth = 1\nmax_bps = 9\n"):
        path.write_text(text)
        with pytest.raises(Problem) as refused:
            read_ladder(path)
        assert refused.value.code == "bad_settings"
    with pytest.raises(Problem):
        read_ladder(tmp_path / "absent.toml")
