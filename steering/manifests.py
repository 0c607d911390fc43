"""Steering manifests, for HLS and DASH alike, and what players say when they ask. Pure.

Rules that shipping players set: never an id that was not offered, never without one that was (a
DASH client that finds none of its locations stops), TTL always, RELOAD-URI absolute.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

MAX_THROUGHPUT_BPS = 10**12
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")


class SteerQuery(BaseModel):
    """What players add to their steering address, for the API's description. Text of any kind is
    taken: a player that misspells must still be answered."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    hls_pathway: str = Field("", alias="_HLS_pathway", description="Where an HLS player is now")
    hls_throughput: str = Field("", alias="_HLS_throughput", description="Bits per second")
    dash_pathway: str = Field("", alias="_DASH_pathway", description="Where it was since it asked")
    dash_throughput: str = Field("", alias="_DASH_throughput", description="Bits per second there")
    told: str = Field("", description="Where it was last sent (by RELOAD-URI)")


class PlayerWord(NamedTuple):
    """What of a query makes sense. `current` is where the player is, when that is certain, and
    `told` where it was last sent."""

    protocol: Literal["hls", "dash"]
    current: str | None
    throughput_bps: float | None
    told: str = ""


def player_word(query: Mapping[str, str], offered: Sequence[str]) -> PlayerWord:
    """The player's word, from what `SteerQuery` lists. dash.js names every location since its last
    request, fastest first, so only a list of one says where it is."""
    dash_pathway, dash_throughput = query.get("_DASH_pathway"), query.get("_DASH_throughput")
    protocol: Literal["hls", "dash"] = "dash" if dash_pathway or dash_throughput else "hls"
    pathways = (query.get("_HLS_pathway") or dash_pathway or "").strip('"').split(",")
    throughputs = (query.get("_HLS_throughput") or dash_throughput or "").strip('"').split(",")
    alone = pathways[0] if len(pathways) == 1 and pathways[0] in offered else None
    fits = _NUMBER.fullmatch(throughputs[0])
    throughput_bps = min(float(throughputs[0]), MAX_THROUGHPUT_BPS) if fits else None
    return PlayerWord(protocol, alone, throughput_bps, query.get("told", ""))


def priorities(ranked: Iterable[str], offered: Sequence[str]) -> tuple[str, ...]:
    """The offered ids, each once: those that are ranked in their rank, the others behind them."""
    first = [appliance_id for appliance_id in ranked if appliance_id in offered]
    return tuple(dict.fromkeys((*first, *offered)))


def ttl(ttl_s: float, jitter: float, chance: float) -> int:
    """Whole seconds, `ttl_s` more or less up to the share `jitter`; `chance` lies in [0, 1)."""
    return max(1, round(ttl_s * (1 + jitter * (2 * chance - 1))))


def manifest(priority: Sequence[str], ttl_s: int, reload_uri: str) -> bytes:
    """The document (`media.fleet.SteeringManifest`)."""
    document = {
        "VERSION": 1,
        "TTL": ttl_s,
        "RELOAD-URI": reload_uri,
        "PATHWAY-PRIORITY": priority,
    }
    return json.dumps(document, separators=(",", ":")).encode()
