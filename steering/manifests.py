"""Steering manifests, for HLS and DASH alike, and what players say when they ask. Pure.

Rules that shipping players set: never an id that was not offered, never without one that was (a
DASH client that finds none of its locations stops), TTL always, RELOAD-URI absolute.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from media.fleet import SteeringManifest

MAX_THROUGHPUT_BPS = 10**12
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")


class SteerQuery(BaseModel):
    """What players add to their steering address. Text of any kind is taken: a player that
    misspells must still be answered."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    hls_pathway: str = Field("", alias="_HLS_pathway", description="Where an HLS player is now")
    hls_throughput: str = Field("", alias="_HLS_throughput", description="Bits per second")
    dash_pathway: str = Field("", alias="_DASH_pathway", description="Where it was since it asked")
    dash_throughput: str = Field("", alias="_DASH_throughput", description="Bits per second there")
    told: str = Field("", description="Where it was last sent (by RELOAD-URI)")


@dataclass(frozen=True)
class PlayerWord:
    """What of a query makes sense. `current` is where the player is, when that is certain."""

    protocol: Literal["hls", "dash"]
    current: str | None
    throughput_bps: float | None


def player_word(query: SteerQuery, offered: Sequence[str]) -> PlayerWord:
    """The player's word. dash.js names every location since its last request, fastest first, so
    only a list of one says where it is."""
    protocol: Literal["hls", "dash"] = (
        "dash" if query.dash_pathway or query.dash_throughput else "hls"
    )
    pathways = (query.hls_pathway or query.dash_pathway).strip('"').split(",")
    throughputs = (query.hls_throughput or query.dash_throughput).strip('"').split(",")
    alone = pathways[0] if len(pathways) == 1 and pathways[0] in offered else None
    fits = _NUMBER.fullmatch(throughputs[0])
    throughput_bps = min(float(throughputs[0]), MAX_THROUGHPUT_BPS) if fits else None
    return PlayerWord(protocol, alone, throughput_bps)


def priorities(ranked: Iterable[str], offered: Sequence[str]) -> tuple[str, ...]:
    """The offered ids, each once: those that are ranked in their rank, the others behind them."""
    first = [appliance_id for appliance_id in ranked if appliance_id in offered]
    return tuple(dict.fromkeys((*first, *offered)))


def ttl(ttl_s: float, jitter: float, chance: float) -> int:
    """Whole seconds, `ttl_s` more or less up to the share `jitter`; `chance` lies in [0, 1)."""
    return max(1, round(ttl_s * (1 + jitter * (2 * chance - 1))))


def manifest(priority: tuple[str, ...], ttl_s: int, reload_uri: str) -> SteeringManifest:
    """The document."""
    return SteeringManifest(ttl=ttl_s, reload_uri=reload_uri, pathway_priority=priority)
