"""Tokens under load: many remembered ones, ones never seen, and forged ones."""

import asyncio
from dataclasses import replace
from statistics import median

from lab import load
from lab.bench import Bar, Reading, Row, alternate, medians, row_of
from lab.forgery import Tally, forged_requests, offer
from lab.load import Load
from lab.stand import Stand

_TOKENS = 10_000
_CONNECTIONS = 32
_FORGED_PER_S = 10_000
_WARM_ROUNDS = 10
_SPARE_S = 3  # wrk takes a moment to begin and to end


async def remembered(name: str, stand: Stand) -> list[Row]:
    """10,000 tokens in turn, all of them seen before, beside one alone: ours against ours."""
    path = stand.paths("1k")[0]
    seconds = stand.effort.seconds
    many = Load([stand.ours.target(path, n) for n in range(_TOKENS)], _CONNECTIONS, seconds)
    # As long a list for the single token, so that wrk has the same work.
    one = Load([stand.ours.target(path)] * _TOKENS, _CONNECTIONS, seconds)
    for _ in range(_WARM_ROUNDS):
        found = await load.run(stand.ours, replace(many, seconds=2), stand.load_core)
        if found.requests >= 2 * _TOKENS:
            break
    readings = await alternate(
        stand.effort.pairs,
        lambda: stand.read(stand.ours, many),
        lambda: stand.read(stand.ours, one),
    )
    return [_rates(name, readings, "one token", Bar(0.5))]


async def never_seen(name: str, stand: Stand) -> list[Row]:
    """Each request with a token of its own, which has to be verified. The peer, beside it, checks
    what it checks for every request."""
    path = stand.paths("1k")[0]
    seconds = stand.effort.seconds

    async def ours() -> Reading:
        targets = [stand.ours.under(stand.ours.new_token(), path) for _ in range(_TOKENS)]
        return await stand.read(stand.ours, Load(targets, _CONNECTIONS, seconds, once=True))

    given = Load([stand.peer.target(path, n) for n in range(_TOKENS)], _CONNECTIONS, seconds)
    readings = await alternate(stand.effort.pairs, ours, lambda: stand.read(stand.peer, given))
    return [_rates(name, readings, stand.peer.name, Bar(3_000, of="ours"))]


async def forged(name: str, stand: Stand) -> list[Row]:
    """Hits while 10,000 forged tokens a second are offered, beside hits alone: ours against ours.

    wrk waits for answers, so the forged ones come from a paced sender of ours, on the core of the
    load, and from many addresses; what it takes of that core (`sender_busy`) counts against us.
    """
    given = Load(
        [stand.ours.target(path) for path in stand.paths("64k")],
        _CONNECTIONS,
        stand.effort.seconds,
    )
    sent: list[Tally] = []

    async def under_fire() -> Reading:
        ending = asyncio.Event()
        count = _FORGED_PER_S * (stand.effort.seconds + _SPARE_S)
        requests = forged_requests(stand.ours, stand.paths("64k")[0], count)
        sender = asyncio.create_task(
            offer(stand.ours.base, requests, _FORGED_PER_S, ending), name="forged"
        )
        try:
            return await stand.read(stand.ours, given)
        finally:
            ending.set()
            sent.append(await sender)

    readings = await alternate(
        stand.effort.pairs, under_fire, lambda: stand.read(stand.ours, given)
    )
    row = _rates(name, readings, "no forgeries", Bar(0.8))
    told = {
        "forged_wanted_per_s": _FORGED_PER_S,
        "forged_offered_per_s": round(median(t.offered / t.seconds for t in sent)),
        "forged_refused_per_s": round(median(t.refused / t.seconds for t in sent)),
        "sender_busy": round(median(t.busy for t in sent), 2),
    }
    return [replace(row, notes=row.notes | told)]


def _rates(name: str, readings: list[tuple[Reading, Reading]], peer_name: str, bar: Bar) -> Row:
    pairs = [(ours.requests_per_s, peer.requests_per_s) for ours, peer in readings]
    notes = {
        "connections": _CONNECTIONS,
        "ours": medians([ours for ours, _ in readings]),
        "peer": medians([peer for _, peer in readings]),
    }
    return replace(row_of(name, "requests/s", pairs, peer_name, bar), notes=notes)
