"""Settings that each player gets with its session. Pure.

The defaults of all three wait 10 s and longer on an appliance that hangs, and then try it again.
With another pathway to go to, a first byte that takes 2.5 s is reason enough to leave; measured
with a stopped appliance, hls.js and shaka then play on without a stall.
"""

from typing import Any

from media.protection import CLEAR_KEY

FIRST_BYTE_MS = 2500
STALL_MS = 2500
# A segment plays for about 6 s: one that takes longer than this to come is not worth waiting for.
LOAD_MS = 10_000
# Long enough to ride out a failover, short enough that little is loaded that nobody watches.
BUFFER_S = 30
# dash.js has no time-out for the first byte, only one for the whole request. So that what comes in
# time is no less than what would have come from a slow appliance, it takes rungs that need half of
# its throughput: a segment of 6 s is there in 3 s.
DASH_LOAD_MS = 3500
DASH_SPENDS = 0.5
# All keys of CTA-5004, version 1, but `nor` and `nrr`.
SHAKA_CMCD = [
    "br", "bl", "bs", "cid", "d", "dl", "mtp", "ot",
    "pr", "rtp", "sf", "sid", "st", "su", "tb", "v",
]  # fmt: skip


def player_settings(
    session_id: str, title_id: str, pathways: int, license_url: str | None = None
) -> dict[str, dict[str, Any]]:
    """Configurations for `new Hls(…)`, dash.js `updateSettings(…)` and shaka `configure(…)`. An
    encrypted package has a `license_url`; dash.js reads it in the MPD.

    `pathways` is how many the session has: with a single one there is nothing to fail over to,
    so requests are tried again instead.
    """
    alone = pathways < 2
    settings = {
        "hlsjs": _hlsjs(session_id, title_id, retries=3 if alone else 0),
        # The first failure sends it on: with 10 s of buffer there may be 4 s left when it asks.
        "dashjs": _dashjs(session_id, title_id, retries=3 if alone else 0),
        # Shaka goes to the next pathway with its second attempt.
        "shaka": _shaka(session_id, title_id, attempts=4 if alone else 2),
    }
    if license_url is not None:
        settings["hlsjs"] |= {
            "emeEnabled": True,
            "drmSystems": {CLEAR_KEY: {"licenseUrl": license_url}},
        }
        # By the MPD: in HLS it knows no key format of Clear Key.
        settings["shaka"] |= {"drm": {"servers": {CLEAR_KEY: license_url}}}
    return settings


def _hlsjs(session_id: str, title_id: str, *, retries: int) -> dict[str, Any]:
    retry = {"maxNumRetry": retries, "retryDelayMs": 250, "maxRetryDelayMs": 1000}
    policy = {
        "default": {
            "maxTimeToFirstByteMs": FIRST_BYTE_MS,
            "maxLoadTimeMs": LOAD_MS,
            "timeoutRetry": retry,
            "errorRetry": retry,
        }
    }
    # The multivariant playlist and the steering manifest have one source each: they are tried
    # again whatever the number of pathways.
    patient = {"maxNumRetry": 3, "retryDelayMs": 500, "maxRetryDelayMs": 4000}
    from_us = {
        "default": {
            "maxTimeToFirstByteMs": LOAD_MS,
            "maxLoadTimeMs": LOAD_MS,
            "timeoutRetry": patient,
            "errorRetry": patient,
        }
    }
    return {
        # hls.js fills 60 MB or ten minutes, whichever comes first, unless maxMaxBufferLength says
        # less: maxBufferLength alone is no bound.
        "maxBufferLength": BUFFER_S,
        "maxMaxBufferLength": 2 * BUFFER_S,
        "backBufferLength": BUFFER_S,
        "fragLoadPolicy": policy,
        "playlistLoadPolicy": policy,
        "manifestLoadPolicy": from_us,
        "steeringManifestLoadPolicy": from_us,
        "cmcd": {"sessionId": session_id, "contentId": title_id, "useHeaders": False},
    }


def _dashjs(session_id: str, title_id: str, *, retries: int) -> dict[str, Any]:
    return {
        "streaming": {
            "fragmentRequestTimeout": DASH_LOAD_MS,
            "fragmentRequestProgressTimeout": STALL_MS,
            "retryAttempts": {"MediaSegment": retries, "InitializationSegment": retries},
            "retryIntervals": {"MediaSegment": 250, "InitializationSegment": 250},
            "abr": {
                "throughput": {"bandwidthSafetyFactor": DASH_SPENDS},
                # By the buffer alone it would take rungs that its throughput does not bear.
                "rules": {"bolaRule": {"active": False}},
            },
            "cmcd": {"enabled": True, "sid": session_id, "cid": title_id, "mode": "query"},
        }
    }


def _shaka(session_id: str, title_id: str, *, attempts: int) -> dict[str, Any]:
    return {
        "streaming": {
            "retryParameters": {
                "maxAttempts": attempts,
                "baseDelay": 250,
                "backoffFactor": 2,
                "fuzzFactor": 0.5,
                "timeout": LOAD_MS,
                "stallTimeout": STALL_MS,
                "connectionTimeout": FIRST_BYTE_MS,
            }
        },
        # To look for captions inside of the picture, of which packages say nothing, Shaka loads
        # segments further on, and keeps their addresses, whoever is drained or dead by then.
        "manifest": {"hls": {"disableClosedCaptionsDetection": True}},
        "cmcd": {
            "enabled": True,
            "sessionId": session_id,
            "contentId": title_id,
            "useHeaders": False,
            # Without the next object's address: Shaka bans every host that it finds in the address
            # of a failed request, and would leave the one that it was about to turn to.
            "includeKeys": SHAKA_CMCD,
        },
    }
