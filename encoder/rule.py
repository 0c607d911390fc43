"""A rule of conformance, and the measures that rules share. Pure.

Clauses are those of the Apple HLS Authoring Specification where they say Apple; where they say
Nearcast, the rule is a promise of our own.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

from encoder.evidence import Evidence, Stream

# Times of different timescales agree within a millisecond, or are different times.
SAME_S = Fraction(1, 1000)
# Two coded frames of AAC, one of priming and one of padding, and a frame of video.
SAME_LENGTH_S = Fraction(1, 10)
RATE_TOLERANCE = 0.10  # 1.26 and 1.27

Severity = Literal["must", "should"]


class Seen(NamedTuple):
    """A rule's finding: sentences on what is wrong, and what was seen if nothing is."""

    wrong: list[str]
    otherwise: str


Look = Callable[[Evidence], Seen]


@dataclass(frozen=True)
class Rule:
    """A rule. `needs` are keys of `LACKING`. A `must` that fails fails the package; a `should`
    is advice."""

    id: str
    clause: str
    sentence: str
    severity: Severity
    needs: tuple[str, ...]
    look: Look


def rule(
    clause: str, sentence: str, *, needs: tuple[str, ...] = (), severity: Severity = "must"
) -> Callable[[Look], Rule]:
    """Makes a rule of the function that looks; the rule's id is the function's name."""

    def make(look: Look) -> Rule:
        return Rule(look.__name__.replace("_", "-"), clause, sentence, severity, needs, look)

    return make


# What a rule can need: whether it is there, and what to say if it is not.
LACKING: dict[str, tuple[Callable[[Evidence], bool], str]] = {
    "inventory": (lambda e: e.ledger is not None, "there is no inventory here"),
    "folder": (
        lambda e: e.ledger is not None and e.ledger.unlisted is not None,
        "only a folder shows what lies in it",
    ),
    "hls": (lambda e: e.hls is not None, "there is no multivariant playlist here"),
    "mpd": (lambda e: e.mpd is not None, "there is no MPD here"),
    "media": (lambda e: bool(e.sound), "no rendition could be read"),
    "video": (lambda e: bool(e.videos), "no video could be read"),
    "decoded": (
        lambda e: any(stream.decoded is not None for stream in e.sound),
        "nothing was decoded",
    ),
    "encrypted": (
        lambda e: any(s.track is not None and s.track.encryption for s in e.sound),
        "nothing is encrypted",
    ),
    "both": (lambda e: bool(e.videos and e.audios), "there are not both video and audio"),
    "playlists": (lambda e: bool(e.playlists), "no media playlist could be read"),
    "iframes": (lambda e: bool(e.key_frames), "no I-frame playlist could be read"),
    "texts": (lambda e: bool(e.texts), "there are no subtitles"),
    "variants": (lambda e: bool(e.variants), "no variant could be read with its audio"),
    "representations": (lambda e: bool(e.representations), "no representation could be read"),
}


def together(main: Stream, group: Iterable[Stream], rate: Callable[[Stream], float]) -> float:
    """Bits per second of the worst combination: audio on top of video, or in place of audio."""
    others = [rate(stream) for stream in group]
    if not main.is_video:
        return max([rate(main), *others])
    return rate(main) + max(others, default=0.0)


def wrong_rate(name: str, said: int, least: float, most: float) -> list[str]:
    """A declared rate is no lower than `least` and no higher than `most`, but for a tenth."""
    if least * (1 - RATE_TOLERANCE) <= said <= most * (1 + RATE_TOLERANCE):
        return []
    return [f"{name}: says {said}, measured {least:.0f}"]


def said_of(streams: Iterable[Stream], what: Callable[[Stream], str]) -> str:
    """What is the same of all is said once."""
    said = {stream.name: what(stream) for stream in streams}
    if len(set(said.values())) == 1:
        return next(iter(said.values()))
    return ", ".join(f"{name} {text}" for name, text in said.items())


def near(a: float | Fraction, b: Fraction, tolerance: Fraction) -> bool:
    """Equal but for the tolerance and for what rounding to milliseconds does."""
    return math.isfinite(a) and abs(Fraction(a) - b) <= tolerance + SAME_S


def seconds(value: Fraction) -> str:
    """For people: `4.000 s`."""
    return f"{float(value):.3f} s"
