"""Frame rates from frame times."""

from fractions import Fraction

import pytest

from encoder.cadence import cadence

NTSC = Fraction(24000, 1001)


def constant(rate: Fraction, frames: int, start_s: float = 0.0) -> list[float]:
    return [start_s + number / float(rate) for number in range(frames)]


def in_ms(times_s: list[float]) -> list[float]:
    return [round(at, 3) for at in times_s]


@pytest.mark.parametrize(
    "rate", [Fraction(text) for text in ("24", "24000/1001", "25", "30000/1001", "60", "5", "120")]
)
@pytest.mark.parametrize("frames", [50, 5000])
def test_a_constant_rate_keeps_every_frame_also_in_milliseconds(
    rate: Fraction, frames: int
) -> None:
    found = cadence(in_ms(constant(rate, frames, 0.003)), 1 / float(rate), [rate])
    assert (found.rate, found.frames, found.variable) == (rate, frames, False)


def test_the_rate_is_found_though_the_container_names_another() -> None:
    found = cadence(constant(NTSC, 2000), 0.0417, [Fraction(1000), Fraction(24)])
    assert (found.rate, found.frames) == (NTSC, 2000)


def test_an_unusual_rate_is_kept_when_it_is_declared() -> None:
    rate = Fraction(1375, 100)
    assert cadence(constant(rate, 300), 0.07, [rate]).rate == rate


def test_frames_lost_after_the_first_of_a_cut_stream_are_no_freeze() -> None:
    times = constant(Fraction(24), 60, 1.525)
    found = cadence([times[0], *times[3:]], 1 / 24, [Fraction(24)])
    assert (found.frames, found.variable) == (58, False)
    assert found.start_s == pytest.approx(times[2])


def test_a_hole_in_the_middle_is_filled_so_that_time_stays_true() -> None:
    times = constant(Fraction(30), 90)
    found = cadence(times[:40] + times[50:], 1 / 30, [Fraction(30)])
    assert (found.rate, found.frames, found.variable) == (Fraction(30), 90, True)


def test_a_variable_rate_is_conformed_and_keeps_its_length() -> None:
    times = [0.0, 0.1, 0.15, 0.4, 0.41, 0.8, 1.3]
    found = cadence(times, 0.7, [Fraction(0)])
    assert found.variable
    assert found.duration_s == pytest.approx(2.0, abs=0.1)
    assert 10 <= found.rate <= 60


def test_more_frames_than_players_take_are_conformed() -> None:
    found = cadence(constant(Fraction(240), 480), 1 / 240, [Fraction(240)])
    assert (found.rate, found.frames) == (Fraction(60), 120)


def test_frames_without_times_are_an_error() -> None:
    with pytest.raises(ValueError):
        cadence([1.0, 1.0, 1.0], 0.04, [Fraction(25)])
