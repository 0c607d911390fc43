"""Rules on HLS playlists, held against the segments that they name."""

from collections.abc import Callable
from fractions import Fraction

from encoder.evidence import Evidence, Stream
from encoder.rates import peak_bps
from encoder.rule import Seen, near, rule, said_of, seconds, together, wrong_rate


@rule(
    "Apple 8.1",
    "EXTINF and its sum are within a frame of the true durations.",
    needs=("playlists", "media"),
)
def extinf(e: Evidence) -> Seen:
    wrong = []
    for stream, playlist in e.playlists:
        if not stream.sound:
            continue
        said = [segment.duration_s for segment in playlist.segments]
        for number, (told, real) in enumerate(zip(said, stream.durations_s, strict=True), start=1):
            if not near(told, real, stream.frame_s):
                wrong.append(
                    f"{stream.name}: segment {number} says {told} s, lasts {seconds(real)}"
                )
        if not near(sum(said), stream.duration_s, stream.frame_s):
            wrong.append(
                f"{stream.name}: says {sum(said):.3f} s, lasts {seconds(stream.duration_s)}"
            )
    return Seen(wrong, said_of(e.sound, lambda s: seconds(s.duration_s)))


@rule(
    "Apple 7.7",
    "No segment is more than half a second longer than the target.",
    needs=("playlists",),
)
def target_duration(e: Evidence) -> Seen:
    wrong = []
    for stream, playlist in e.playlists:
        target_s = playlist.target_duration_s
        longest = max((segment.duration_s for segment in playlist.segments), default=0.0)
        measured = max(map(float, stream.durations_s)) if stream.sound else 0.0
        if max(longest, measured) >= target_s + 0.5:
            wrong.append(f"{stream.name}: {max(longest, measured):.3f} s, target {target_s} s")
    targets = sorted({playlist.target_duration_s for _, playlist in e.playlists})
    return Seen(wrong, f"target {', '.join(map(str, targets))} s")


@rule("Apple 7.5", "The target duration is 6 s.", needs=("playlists",), severity="should")
def target_six(e: Evidence) -> Seen:
    """A film that is shorter than a segment cannot follow."""
    targets = sorted({playlist.target_duration_s for _, playlist in e.playlists})
    long = any(sum(s.duration_s for s in playlist.segments) > 6 for _, playlist in e.playlists)
    wrong = [f"it is {target} s" for target in targets if target > 6 or (target < 6 and long)]
    return Seen(wrong, ", ".join(f"{target} s" for target in targets))


@rule("Apple 8.2", "Audio and video have the same target duration.", needs=("playlists",))
def same_target(e: Evidence) -> Seen:
    targets = sorted({playlist.target_duration_s for _, playlist in e.playlists})
    said = ", ".join(f"{target} s" for target in targets)
    return Seen([said] if len(targets) > 1 else [], said)


@rule("Apple 8.6", "Media playlists are VOD, and complete.", needs=("playlists",))
def vod(e: Evidence) -> Seen:
    wrong = [
        f"{s.name} is not" for s, playlist in e.playlists if not (playlist.vod and playlist.ended)
    ]
    return Seen(wrong, f"{len(e.playlists)} media playlists")


@rule("Apple 8.20", "Media playlists have EXT-X-MAP.", needs=("playlists",))
def ext_x_map(e: Evidence) -> Seen:
    wrong = [f"{s.name} has none" for s, playlist in e.playlists if playlist.init_uri is None]
    return Seen(wrong, f"{len(e.playlists)} media playlists")


@rule(
    "Apple 1.26, 9.14",
    "AVERAGE-BANDWIDTH is within 10 % of the measured average.",
    needs=("variants",),
)
def average_bandwidth(e: Evidence) -> Seen:
    wrong = []
    for variant, main, group in e.variants:
        average = together(main, group, lambda s: s.average_bps)
        if variant.average_bandwidth is None:
            wrong.append(f"{main.name} says none")
        else:
            wrong += wrong_rate(main.name, variant.average_bandwidth, average, average)
    return Seen(wrong, _measured(e, lambda s: s.average_bps))


@rule(
    "Apple 1.27, 9.13",
    "BANDWIDTH is within 10 % of the measured peak of the worst combination.",
    needs=("variants",),
)
def bandwidth(e: Evidence) -> Seen:
    wrong = []
    for variant, main, group in e.variants:
        least = together(main, group, lambda s: s.peak_bps)
        most = together(main, group, lambda s: s.segment_peak_bps)
        wrong += wrong_rate(main.name, variant.bandwidth, least, most)
    return Seen(wrong, _measured(e, lambda s: s.peak_bps))


@rule(
    "Apple 1.30",
    "The peak of video is at most twice its average.",
    needs=("video",),
    severity="should",
)
def peak_to_average(e: Evidence) -> Seen:
    ratios = {stream.name: stream.peak_bps / stream.average_bps for stream in e.videos}
    wrong = [f"{name}: {ratio:.2f} times" for name, ratio in ratios.items() if ratio > 2]
    return Seen(wrong, f"{max(ratios.values()):.2f} times at most")


@rule("Apple 9.1", "CODECS are those of the sample entries.", needs=("variants",))
def codecs(e: Evidence) -> Seen:
    wrong = []
    for variant, main, group in e.variants:
        said = {codec.strip().lower() for codec in (variant.codecs or "").split(",")}
        found = {s.track.codecs for s in (main, *group) if s.track is not None}
        if said != {codec.lower() for codec in found}:
            wrong.append(f"{main.name}: {variant.codecs}, found {', '.join(sorted(found))}")
    return Seen(wrong, "; ".join(sorted({v.codecs or "" for v, _, _ in e.variants})))


@rule("Apple 9.2", "RESOLUTION is there and true.", needs=("variants",))
def resolution(e: Evidence) -> Seen:
    wrong = []
    for variant, main, _ in e.variants:
        if main.is_video and main.track is not None:
            found = (main.track.width, main.track.height)
            if variant.resolution != found:
                wrong.append(f"{main.name}: {variant.resolution}, found {found[0]}x{found[1]}")
    sizes = sorted(v.resolution for v, _, _ in e.variants if v.resolution)
    return Seen(wrong, ", ".join(f"{width}x{height}" for width, height in sizes) or "no video")


@rule("Apple 9.15", "FRAME-RATE is there and true.", needs=("variants",))
def frame_rate(e: Evidence) -> Seen:
    wrong = []
    for variant, main, _ in e.variants:
        rate = float(1 / main.frame_s)
        # 29.97 and 30 differ by 0.03, three decimals by less than 0.001.
        if main.is_video and abs((variant.frame_rate or 0.0) - rate) > 0.01:
            wrong.append(f"{main.name}: {variant.frame_rate}, found {rate:.3f}")
    rates = sorted({v.frame_rate for v, _, _ in e.variants if v.frame_rate})
    return Seen(wrong, ", ".join(f"{rate:.3f}" for rate in rates) or "no video")


@rule("Apple 9.11", "EXT-X-INDEPENDENT-SEGMENTS is there.", needs=("hls",))
def independent(e: Evidence) -> Seen:
    assert e.hls is not None
    each = all(playlist.independent_segments for _, playlist in e.playlists)
    wrong = [] if e.hls.independent_segments or each else ["it is not there"]
    return Seen(wrong, "it is there")


@rule("Apple 8.10", "Every EXT-X-MEDIA has a LANGUAGE.", needs=("hls",))
def language(e: Evidence) -> Seen:
    assert e.hls is not None
    wrong = [
        f"{media.name or media.group_id} says none" for media in e.hls.media if not media.language
    ]
    return Seen(wrong, ", ".join(sorted({m.language for m in e.hls.media if m.language})) or "none")


@rule("Apple 6.1", "Every video rendition has an I-frame playlist.", needs=("hls", "video"))
def iframes(e: Evidence) -> Seen:
    have = {stream.name for _, _, stream in e.key_frames}
    wrong = [
        f"{stream.name} has none"
        for stream in e.videos
        if stream.playlist is not None and stream.name not in have
    ]
    return Seen(wrong, f"{len(have)} playlists")


@rule(
    "RFC 8216bis 4.4.3.6",
    "I-frame playlists name key frames, and how long each is shown.",
    needs=("iframes",),
)
def iframe_parts(e: Evidence) -> Seen:
    wrong = []
    count = 0
    for _, playlist, stream in e.key_frames:
        if not playlist.iframes_only:
            wrong.append(f"{stream.name}: EXT-X-I-FRAMES-ONLY is not there")
        for number, frame in enumerate(playlist.segments, start=1):
            count += 1
            lasts = stream.keys_s.get((frame.uri, *(frame.part or (0, 0))))
            if lasts is None:
                wrong.append(f"{stream.name}: part {number} is no key frame")
            elif not near(frame.duration_s, lasts, stream.frame_s):
                wrong.append(
                    f"{stream.name}: part {number} says {frame.duration_s} s, is shown for"
                    f" {seconds(lasts)}"
                )
    return Seen(wrong, f"{count} key frames")


@rule(
    "Apple 1.27",
    "BANDWIDTH of I-frame playlists is measured, within 10 %.",
    needs=("iframes",),
)
def iframe_bandwidth(e: Evidence) -> Seen:
    wrong = []
    for told, playlist, stream in e.key_frames:
        sizes = [frame.part[1] for frame in playlist.segments if frame.part]
        lengths = [Fraction(frame.duration_s) for frame in playlist.segments if frame.part]
        if sizes:
            peak = float(peak_bps(sizes, lengths, max(1, round(max(lengths)))))
            wrong += wrong_rate(f"{stream.name}-iframes", told.bandwidth, peak, peak)
    return Seen(wrong, ", ".join(f"{told.bandwidth / 1000:.0f}" for told, _, _ in e.key_frames))


HLS_RULES = (
    extinf,
    target_duration,
    target_six,
    same_target,
    vod,
    ext_x_map,
    average_bandwidth,
    bandwidth,
    peak_to_average,
    codecs,
    resolution,
    frame_rate,
    independent,
    language,
    iframes,
    iframe_parts,
    iframe_bandwidth,
)


def _measured(e: Evidence, rate: Callable[[Stream], float]) -> str:
    rates = [f"{m.name} {together(m, g, rate) / 1000:.0f} kbit/s" for _, m, g in e.variants]
    return f"measured {', '.join(rates)}"
