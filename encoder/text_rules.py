"""Rules on subtitles, held against the film that they belong to."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from encoder.evidence import Evidence
from encoder.rule import SAME_LENGTH_S, Seen, rule, seconds
from media.webvtt import Cue

_ROUNDED_S = 0.002  # times are written in milliseconds


@rule(
    "Apple 5.3",
    "Subtitles are segments of WebVTT text, each with X-TIMESTAMP-MAP.",
    needs=("texts",),
)
def webvtt(e: Evidence) -> Seen:
    wrong = [f"{text.name}: {defect}" for text in e.texts for defect in text.defects]
    wrong += [
        f"{text.name}: segment {number} has none"
        for text in e.texts
        for number, part in enumerate(text.segments, start=1)
        if not part.mapped
    ]
    return Seen(wrong, f"{sum(len(text.segments) for text in e.texts)} segments")


@rule(
    "RFC 8216bis 3.1.4",
    "A segment has all cues that are shown during it, and no others.",
    needs=("texts",),
)
def cues(e: Evidence) -> Seen:
    wrong = []
    for text in e.texts:
        if text.defects:
            continue
        edges = list(accumulate((s.duration_s for s in text.playlist.segments), initial=0.0))
        due: list[set[Cue]] = [set() for _ in text.segments]
        for cue in {cue for part in text.segments for cue in part.cues}:
            for number in _shown(cue, edges):
                due[number].add(cue)
        for number, part in enumerate(text.segments):
            here = set(part.cues)
            if missing := len(due[number] - here):
                wrong.append(f"{text.name}: segment {number + 1} lacks {missing}")
            start, end = edges[number] - _ROUNDED_S, edges[number + 1] + _ROUNDED_S
            if others := sum(1 for cue in here if cue.end_s < start or cue.start_s > end):
                wrong.append(f"{text.name}: segment {number + 1} has {others} of another time")
    return Seen(wrong, f"{sum(len(p.cues) for t in e.texts for p in t.segments)} cues")


def _shown(cue: Cue, edges: Sequence[float]) -> range:
    """The segments during which it is."""
    first = bisect_right(edges, cue.start_s + _ROUNDED_S) - 1
    after = bisect_left(edges, cue.end_s - _ROUNDED_S)
    return range(max(first, 0), min(after, len(edges) - 1))


@rule("Apple 8.2, 8.6", "Playlists of subtitles are as long as the film's.", needs=("texts",))
def text_length(e: Evidence) -> Seen:
    wrong = []
    targets = {playlist.target_duration_s for _, playlist in e.playlists}
    for text in e.texts:
        playlist = text.playlist
        lasts_s = sum(segment.duration_s for segment in playlist.segments)
        if not (playlist.vod and playlist.ended):
            wrong.append(f"{text.name} is not VOD, and complete")
        if playlist.target_duration_s not in targets:
            wrong.append(f"{text.name}: target {playlist.target_duration_s} s")
        if e.videos and abs(lasts_s - float(e.videos[0].duration_s)) > SAME_LENGTH_S:
            film = seconds(e.videos[0].duration_s)
            wrong.append(f"{text.name} lasts {lasts_s:.3f} s, the film {film}")
    return Seen(wrong, ", ".join(text.name for text in e.texts))


TEXT_RULES = (webvtt, cues, text_length)
