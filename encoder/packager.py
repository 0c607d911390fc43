"""What Shaka Packager is told: encoded tracks in, CMAF segments out, one set for HLS and DASH.

It writes segments only. Playlists and MPD are ours: with playlists in folders it makes no `../`
and leaks absolute paths, and its durations are rounded.
"""

from collections.abc import Sequence
from fractions import Fraction

from media.protection import Protection

INIT = "init.mp4"
SEGMENT = "$Number$.m4s"


def package_argv(
    program: str,
    rendition_ids: Sequence[str],
    segment_s: Fraction,
    gop_s: Fraction,
    timescale: int,
    folder: str,
    protection: Protection | None = None,
) -> list[str]:
    """The command that cuts `{rendition_id}.mp4` of each into `{folder}/{rendition_id}/`, and
    encrypts them."""
    argv = [program, "--quiet"]
    for rendition_id in rendition_ids:
        kind = "audio" if rendition_id.startswith("a-") else "video"
        place = f"{folder}/{rendition_id}"
        argv.append(
            f"in={rendition_id}.mp4,stream={kind},"
            f"init_segment={place}/{INIT},segment_template={place}/{SEGMENT},drm_label={kind}"
        )
    # Cuts fall at the first key frame in each multiple of this. Half a tick less than the exact
    # length, since a little more (binary fractions are) would let a boundary slip one GOP.
    argv += ["--segment_duration", f"{float(segment_s - Fraction(1, 2 * timescale)):.9f}"]
    # A fragment for each GOP: so every key frame can be decoded by the bytes in front of it.
    argv += ["--fragment_duration", f"{float(gop_s - Fraction(1, 2 * timescale)):.9f}"]
    if protection is not None:
        keys = {"video": protection.video, "audio": protection.audio}
        told = [f"label={label}:key_id={k.key_id}:key={k.key}" for label, k in keys.items()]
        argv += ["--enable_raw_key_encryption", "--keys", ",".join(told)]
        # From the first frame on: what begins in the clear is no secret.
        argv += ["--protection_scheme", protection.scheme, "--clear_lead", "0"]
    # Playlists and the MPD name each segment; a box that repeats it is weight.
    argv += ["--generate_sidx_in_media_segments=false"]
    # Creation times are 0 instead of now: the same master gives the same bytes.
    argv += ["--use_fake_clock_for_muxer"]
    return argv
