"""Rules on the MPD, held against the segments that it names."""

from fractions import Fraction

from encoder.evidence import Evidence
from encoder.rule import SAME_LENGTH_S, SAME_S, Seen, near, rule, seconds, wrong_rate


@rule("DASH-IF timing", "The first Period starts at 0.", needs=("mpd",))
def mpd_start(e: Evidence) -> Seen:
    assert e.mpd is not None
    wrong = [f"it starts at {seconds(e.mpd.period_start_s)}"] if e.mpd.period_start_s else []
    return Seen(wrong, "PT0S")


@rule(
    "DASH-IF timing",
    "Timelines tell when segments really start, without gap or overlap.",
    needs=("representations",),
)
def mpd_timeline(e: Evidence) -> Seen:
    """That a timeline itself has no gap, reading it has made sure of."""
    wrong = []
    for representation, stream in e.representations:
        timeline = representation.timeline
        at = Fraction(timeline.start, timeline.timescale)
        if len(timeline.durations) != len(stream.fragments):
            wrong.append(f"{representation.id}: other segments than its playlist")
            continue
        for number, duration in enumerate(timeline.durations, start=1):
            if not near(at, stream.edges_s[number - 1], stream.frame_s):
                real = seconds(stream.edges_s[number - 1])
                wrong.append(
                    f"{representation.id}: segment {number} at {seconds(at)}, really {real}"
                )
                break
            at += Fraction(duration, timeline.timescale)
    return Seen(wrong, f"{len(e.representations)} timelines")


@rule("DASH-IF timing", "Segments cover the period.", needs=("representations",))
def mpd_covers(e: Evidence) -> Seen:
    assert e.mpd is not None
    wrong = []
    for representation, stream in e.representations:
        timeline = representation.timeline
        start = Fraction(timeline.start, timeline.timescale)
        end = start + Fraction(sum(timeline.durations), timeline.timescale)
        if start > SAME_LENGTH_S or abs(end - e.mpd.duration_s) > SAME_LENGTH_S:
            wrong.append(f"{stream.name} goes from {seconds(start)} to {seconds(end)}")
    return Seen(wrong, f"0 to {seconds(e.mpd.duration_s)}")


@rule(
    "DASH-IF timing",
    "mediaPresentationDuration is exact.",
    needs=("mpd", "media"),
)
def mpd_duration(e: Evidence) -> Seen:
    """Exact is the end of the longest video, or of everything."""
    assert e.mpd is not None
    ends = [max(s.edges_s[-1] for s in some) for some in (e.videos, e.sound) if some]
    wrong = [f"{seconds(e.mpd.duration_s)}, the film ends at {seconds(ends[0])}"]
    exact = any(abs(end - e.mpd.duration_s) <= SAME_S for end in ends)
    return Seen([] if exact else wrong, seconds(e.mpd.duration_s))


@rule(
    "ISO/IEC 23009-1 5.3.5",
    "Representations are described as they are.",
    needs=("representations",),
)
def mpd_facts(e: Evidence) -> Seen:
    wrong = []
    for representation, stream in e.representations:
        assert stream.track is not None
        said = (representation.codecs.lower(), representation.width, representation.height)
        found = (stream.track.codecs.lower(), stream.track.width, stream.track.height)
        if said != found:
            wrong.append(f"{representation.id}: {said}, found {found}")
        wrong += wrong_rate(
            representation.id, representation.bandwidth, stream.average_bps, stream.segment_peak_bps
        )
    return Seen(wrong, f"{len(e.representations)} representations")


DASH_RULES = (
    mpd_start,
    mpd_timeline,
    mpd_covers,
    mpd_duration,
    mpd_facts,
)
