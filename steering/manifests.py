"""Steering manifests, for HLS and DASH alike, and what players say when they ask. Pure.

Rules that shipping players set: never an id that was not offered, never without one that was (a
DASH client that finds none of its locations stops), TTL always, RELOAD-URI absolute.
"""

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

MAX_THROUGHPUT_BPS = 10**12


class SteerQuery(BaseModel):
    """What players add to their steering address, for the API's description. Text of any kind is
    taken: a player that misspells must still be answered."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    hls_pathway: str = Field("", alias="_HLS_pathway", description="Where an HLS player is now")
    hls_throughput: str = Field("", alias="_HLS_throughput", description="Bits per second")
    dash_pathway: str = Field("", alias="_DASH_pathway", description="Where it was since it asked")
    dash_throughput: str = Field("", alias="_DASH_throughput", description="Bits per second there")
    told: str = Field("", description="Where it was last sent (by RELOAD-URI)")


_WORDS = re.compile("(?:^|&)(?:(told)|_(HLS|DASH)_(pathway|throughput))=([^&]*)")


class PlayerWord(NamedTuple):
    """What of a query makes sense. `current` is where the player is, when that is certain, and
    `told` where it was last sent."""

    protocol: Literal["hls", "dash"]
    current: str | None
    throughput_bps: float | None
    told: str = ""


_unquoted = lru_cache(1024)(unquote)  # the names of appliances, in quotation marks


def player_word(raw_query: str, offered: Collection[str]) -> PlayerWord:
    """The player's word: what `SteerQuery` lists. dash.js names every location since its last
    request, fastest first; only one that stands alone says where it is."""
    protocol: Literal["hls", "dash"] = "hls"
    pathway = throughput = told = ""
    for by_us, by_whom, what, raw in _WORDS.findall(raw_query):
        value = _unquoted(raw) if "%" in raw else raw
        if by_us:
            told = value
        elif value:
            protocol = "hls" if by_whom == "HLS" else "dash"
            if what == "pathway":
                pathway = value.strip('"')
            else:
                throughput = value.strip('"').partition(",")[0]
    alone = pathway if pathway in offered else None
    return PlayerWord(protocol, alone, _bps(throughput), told)


def _bps(text: str) -> float | None:
    """Digits with at most one point; no sign, no exponent."""
    return min(float(text), MAX_THROUGHPUT_BPS) if text.replace(".", "", 1).isdecimal() else None


@lru_cache(4096)
def priorities(ranked: tuple[str, ...], offered: tuple[str, ...]) -> tuple[str, ...]:
    """The offered ids, each once: those that are ranked in their rank, the others behind them."""
    first = [appliance_id for appliance_id in ranked if appliance_id in offered]
    return tuple(dict.fromkeys((*first, *offered)))


def ttl(ttl_s: float, jitter: float, chance: float) -> int:
    """Whole seconds, `ttl_s` more or less up to the share `jitter`; `chance` lies in [0, 1)."""
    return max(1, round(ttl_s * (1 + jitter * (2 * chance - 1))))


def manifest(priority: Sequence[str], ttl_s: int, reload_uri: str) -> bytes:
    """The document (`media.fleet.SteeringManifest`)."""
    return to_json(
        {"VERSION": 1, "TTL": ttl_s, "RELOAD-URI": reload_uri, "PATHWAY-PRIORITY": priority}
    )
