"""Rules on the files of a package and on the media in them, whatever manifest names it."""

from itertools import pairwise

from encoder.evidence import Evidence
from encoder.rule import SAME_LENGTH_S, SAME_S, Seen, near, rule, said_of, seconds, wrong_rate


@rule("RFC 8216bis, ISO/IEC 23009-1", "Every manifest is there and can be read.")
def manifests(e: Evidence) -> Seen:
    there = [name for name, it in (("HLS", e.hls), ("DASH", e.mpd), ("inventory", e.ledger)) if it]
    return Seen(list(e.unreadable), f"{', '.join(there)}; {len(e.playlists)} media playlists")


@rule("Nearcast", "Every listed file is there, with its bytes and SHA-256.", needs=("inventory",))
def inventory_files(e: Evidence) -> Seen:
    assert e.ledger is not None
    return Seen(list(e.ledger.wrong), f"{e.ledger.files} files")


@rule("Nearcast", "No file lies in the package that is not listed.", needs=("folder",))
def inventory_closed(e: Evidence) -> Seen:
    assert e.ledger is not None
    return Seen([f"{path} is not listed" for path in e.ledger.unlisted or ()], "nothing else")


@rule(
    "Nearcast",
    "The inventory describes its renditions as they are.",
    needs=("inventory", "media"),
)
def inventory_facts(e: Evidence) -> Seen:
    assert e.ledger is not None
    streams = {stream.name: stream for stream in e.sound}
    wrong = []
    for rendition in e.ledger.inventory.renditions:
        stream = streams.get(rendition.rendition_id)
        if stream is None or stream.track is None:
            continue
        track = stream.track
        facts = {
            "kind": (rendition.kind, track.kind),
            "codecs": (rendition.codecs, track.codecs),
            "timescale": (rendition.timescale, track.timescale),
            "width": (rendition.width, track.width),
            "height": (rendition.height, track.height),
            "video_range": (rendition.video_range, track.video_range),
            "channels": (rendition.channels, track.channels),
            "sample_rate": (rendition.sample_rate, track.sample_rate),
            "frames": (rendition.frames or stream.samples, stream.samples),
        }
        name = rendition.rendition_id
        wrong += [
            f"{name}: {k} {said}, found {is_}" for k, (said, is_) in facts.items() if said != is_
        ]
        if not near(rendition.duration_s, stream.duration_s, stream.frame_s):
            wrong.append(f"{name}: {rendition.duration_s} s, found {seconds(stream.duration_s)}")
        wrong += wrong_rate(name, rendition.bandwidth, stream.peak_bps, stream.segment_peak_bps)
        average = stream.average_bps
        wrong += wrong_rate(f"{name} on average", rendition.average_bandwidth, average, average)
    return Seen(wrong, f"{len(streams)} renditions are as described")


@rule("ISO/IEC 23000-19 7.3", "Every segment is there, and is a whole CMAF segment of one track.")
def segments(e: Evidence) -> Seen:
    wrong = [f"{stream.name}: {defect}" for stream in e.streams for defect in stream.defects]
    count = sum(len(stream.fragments) for stream in e.streams)
    return Seen(wrong, f"{count} segments of {len(e.streams)} renditions")


@rule("Nearcast", "Every rendition decodes without error, frame by frame.", needs=("decoded",))
def decodes(e: Evidence) -> Seen:
    wrong = []
    decoded = [(stream, stream.decoded) for stream in e.sound if stream.decoded is not None]
    for stream, came in decoded:
        if came.error is not None:
            wrong.append(f"{stream.name}: {came.error}")
        elif stream.is_video and came.frames != stream.samples:
            wrong.append(f"{stream.name}: {came.frames} of {stream.samples} frames came out")
    locked = len([s for s in e.sound if s.decoded is None])
    rest = f"; {locked} were not decoded, for want of a key" if locked else ""
    return Seen(wrong, f"{len(decoded)} renditions without an error{rest}")


@rule(
    "Apple 13.7",
    "Video that is encrypted with cbcs has the pattern 1:9, and sound none.",
    needs=("encrypted",),
)
def cbcs_pattern(e: Evidence) -> Seen:
    found = {s: s.track.encryption for s in e.sound if s.track and s.track.encryption}
    patterns = {s: told.pattern for s, told in found.items() if told.scheme == "cbcs"}
    wrong = [
        f"{stream.name} has {pattern[0]}:{pattern[1]}"
        for stream, pattern in patterns.items()
        # All blocks of sound are encrypted, which may be said in either way.
        if pattern not in (((1, 9),) if stream.is_video else ((0, 0), (1, 0)))
    ]
    return Seen(wrong, f"{len(found)} renditions, {len(patterns)} with cbcs")


@rule(
    "RFC 8216bis 4.4.4.4, ISO/IEC 23001-7 11.2",
    "Manifests name the key that each encrypted rendition takes.",
    needs=("encrypted",),
)
def named_keys(e: Evidence) -> Seen:
    wrong = []
    for stream, playlist in e.playlists:
        if stream.track is None:
            continue
        told = stream.track.encryption
        wanted = None if told is None else told.key_id
        if playlist.key_id != wanted:
            wrong.append(f"{stream.name}: HLS says {playlist.key_id}, it takes {wanted}")
    for representation, stream in e.representations:
        assert stream.track is not None
        told = stream.track.encryption
        wanted = None if told is None else told.key_id
        if representation.key_id != wanted:
            wrong.append(f"{stream.name}: DASH says {representation.key_id}, it takes {wanted}")
    return Seen(wrong, f"{len({s.track.encryption for s in e.sound if s.track})} keys")


@rule("Apple 7.4", "Segments start with a sync sample.", needs=("media",))
def sync_start(e: Evidence) -> Seen:
    wrong = [
        f"{stream.name}: segment {number} does not"
        for stream in e.sound
        for number, fragment in enumerate(stream.fragments, start=1)
        if not fragment.starts_with_sync
    ]
    return Seen(wrong, "all do")


@rule("Apple 7.3", "Decode times continue from segment to segment.", needs=("media",))
def tfdt(e: Evidence) -> Seen:
    wrong = []
    for stream in e.sound:
        for number, (before, after) in enumerate(pairwise(stream.fragments), start=2):
            end = before.decode_time + before.duration
            if after.decode_time != end:
                wrong.append(f"{stream.name}: segment {number} at {after.decode_time}, not {end}")
    return Seen(wrong, "no gap and no overlap")


@rule("Nearcast", "Segment boundaries are the same in every video rung.", needs=("video",))
def aligned(e: Evidence) -> Seen:
    first = e.videos[0]
    wrong = []
    for stream in e.videos[1:]:
        if len(stream.edges_s) != len(first.edges_s):
            count = len(stream.fragments)
            wrong.append(f"{stream.name}: {count} segments, {first.name} {len(first.fragments)}")
            continue
        for number, (a, b) in enumerate(zip(stream.edges_s, first.edges_s, strict=True), start=1):
            if abs(a - b) > SAME_S:
                wrong.append(
                    f"{stream.name}: segment {number} at {seconds(a)}, {first.name} {seconds(b)}"
                )
                break
    return Seen(wrong, f"{len(first.fragments)} segments, video rungs: {len(e.videos)}")


@rule(
    "Nearcast",
    "Every video rung has the same number of frames.",
    needs=("inventory", "video"),
)
def same_frames(e: Evidence) -> Seen:
    counts = {stream.samples for stream in e.videos}
    said = said_of(e.videos, lambda s: f"{s.samples} frames")
    return Seen([said] if len(counts) > 1 else [], said)


@rule("Apple 8.3", "Audio and video last equally long.", needs=("both",))
def same_length(e: Evidence) -> Seen:
    longest = max(stream.duration_s for stream in e.videos)
    wrong = [
        f"{stream.name} lasts {seconds(stream.duration_s)}, video {seconds(longest)}"
        for stream in e.sound
        if abs(stream.duration_s - longest) > SAME_LENGTH_S
    ]
    return Seen(wrong, said_of(e.sound, lambda s: seconds(s.duration_s)))


@rule("Apple 1.33", "Every video rung has the same aspect.", needs=("video",))
def same_aspect(e: Evidence) -> Seen:
    sizes = {s.name: (s.track.width or 1, s.track.height or 1) for s in e.videos if s.track}
    width, height = max(sizes.values())
    wrong = [
        f"{name} is {w}x{h}, the largest {width}x{height}"
        for name, (w, h) in sizes.items()
        # Encoders want even numbers, so an exact ratio is off by up to two columns.
        if abs(w - h * width / height) > 2
    ]
    return Seen(wrong, f"{width / height:.3f}")


MEDIA_RULES = (
    manifests,
    inventory_files,
    inventory_closed,
    inventory_facts,
    segments,
    decodes,
    cbcs_pattern,
    named_keys,
    sync_start,
    tfdt,
    aligned,
    same_frames,
    same_length,
    same_aspect,
)
