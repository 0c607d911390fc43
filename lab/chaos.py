"""`nearcast chaos`: something breaks while people watch, and it is counted who noticed.

Virtual players (`lab.player`) of every region watch a film of a rig (`lab.rig`); in the middle of
it a part breaks, and after a while it is whole again. Newcomers press play while it is broken.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.player import Open, Played, VirtualPlayer, summary
from lab.rig import PLACES, REGIONS, TTL_S, Rig, standing
from media.api import NewSession, Session
from runtime.console import signed_in
from runtime.errors import Problem

MAX_STALL_S = 0.5
FILM_S = 40.0
BREAKS_AT, MENDED_AT = 0.25, 0.6  # of the film that is made; of another after as many seconds

Act = Callable[[Rig, str], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """What breaks, and how it is whole again: the part of that name, or else the victim, which is
    the appliance that serves most viewers. `starts`: who presses play meanwhile is to see the film,
    too."""

    help: str
    breaks: Act
    mends: Act
    part: str = ""
    starts: bool = True


async def _kill(rig: Rig, name: str) -> None:
    rig.kill(name)


async def _restart(rig: Rig, name: str) -> None:
    await rig.restart(name)


async def _hang(rig: Rig, name: str) -> None:
    rig.hang(name)


async def _resume(rig: Rig, name: str) -> None:
    rig.resume(name)


async def _drain(rig: Rig, name: str) -> None:
    await rig.command("fleet", "drain", name)


async def _restore(rig: Rig, name: str) -> None:
    await rig.command("fleet", "restore", name)


async def _cut(rig: Rig, name: str) -> None:
    rig.cut(name)


async def _mend(rig: Rig, name: str) -> None:
    rig.mend(name)


async def _take(rig: Rig, _: str) -> None:
    rig.take_store()


async def _give(rig: Rig, _: str) -> None:
    rig.give_store()


SCENARIOS: dict[str, Scenario] = {
    "kill": Scenario("SIGKILL to an appliance; it is started again", _kill, _restart),
    "hang": Scenario("An appliance stands still (SIGSTOP), and goes on", _hang, _resume),
    "drain": Scenario("An appliance is drained, and restored", _drain, _restore),
    "partition": Scenario("An appliance is cut off from everybody, and is back", _cut, _mend),
    "steering": Scenario("SIGKILL to steering; it is started again", _kill, _restart, "steering"),
    "store": Scenario("The store is gone, and comes back", _take, _give, "store"),
    "control": Scenario(
        "SIGKILL to the control plane; it is started again",
        _kill,
        _restart,
        "control_plane",
        starts=False,
    ),
}


@dataclass
class Outcome:
    """What was seen. `moved_s`: until no viewer was served by the victim any more, since it broke;
    `returned`: viewers whom it served again at the end."""

    scenario: str
    victim: str
    players: list[Played]
    moved_s: float | None
    returned: int

    @property
    def complaints(self) -> list[str]:
        """What was promised and not kept."""
        found = []
        for number, one in enumerate(self.players):
            who = f"player {number} ({one.region})"
            if one.error:
                found.append(f"{who} did not reach the end: {one.error}")
            if one.wrong_bytes:
                found.append(f"{who} got {one.wrong_bytes} wrong bytes")
            if one.stalls_s and max(one.stalls_s) > MAX_STALL_S:
                found.append(f"{who} stood still for {max(one.stalls_s):.2f} s")
            if self.scenario == "drain" and one.failed_requests:
                found.append(f"{who} had {one.failed_requests} requests fail")
        return found


async def run_chaos(
    name: str,
    data: Path,
    *,
    viewers: int,
    buffer_s: float,
    film: Path | None = None,
    film_s: float = FILM_S,
    tell: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """The scenario, once. Raises Problem for an unknown one, and when the rig does not stand."""
    scenario = SCENARIOS.get(name)
    if scenario is None:
        raise Problem(
            "bad_request", f"There is no scenario {name!r}; there are {', '.join(SCENARIOS)}."
        )
    async with standing(data, film, film_s, tell) as rig, signed_in(data) as api:
        assert rig.title is not None
        title_id = rig.title.title_id

        def opens(region: str) -> Open:
            async def open_session() -> Session:
                return await api.start_session(NewSession(title_id=title_id, region=region))

            return open_session

        def viewer(number: int) -> VirtualPlayer:
            region = REGIONS[number % len(REGIONS)]
            return VirtualPlayer(region, opens(region), buffer_s=buffer_s)

        players = [viewer(number) for number in range(viewers)]
        began_s = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for player in players:
                group.create_task(player.play(), name="viewer")
            tell(f"{viewers} viewers watch …")
            await asyncio.sleep(BREAKS_AT * film_s)
            victim = "" if scenario.part else _busiest(players)
            broken = scenario.part or victim
            tell(f"{scenario.help} …")
            await scenario.breaks(rig, broken)
            broken_s = asyncio.get_running_loop().time() - began_s
            if scenario.starts:
                await asyncio.sleep(2.0)
                for number in range(len(REGIONS)):
                    players.append(viewer(number))
                    group.create_task(players[-1].play(), name="newcomer")
            passed_s = asyncio.get_running_loop().time() - began_s
            await asyncio.sleep(max(0.0, MENDED_AT * film_s - passed_s))
            tell("It is mended …")
            await scenario.mends(rig, broken)
    played = [player.played for player in players]
    return Outcome(
        name,
        victim,
        played,
        _moved_s(played[:viewers], victim, broken_s),
        sum(bool(one.path) and one.path[-1][1] == victim for one in played[:viewers]),
    )


def _busiest(players: list[VirtualPlayer]) -> str:
    """The appliance that serves most of them now; of two the first by name."""
    names = [name for name, _, _ in PLACES]
    serves = [player.played.path[-1][1] for player in players if player.played.path]
    return max(names, key=serves.count)


def _moved_s(played: list[Played], victim: str, broken_s: float) -> float | None:
    """From the break on, until the last of those whom it served had gone elsewhere."""
    moves = []
    for one in played:
        for (_, before), (at_s, _) in zip(one.path, one.path[1:], strict=False):
            if before == victim and at_s > broken_s:
                moves.append(at_s - broken_s)
                break
    return round(max(moves), 2) if moves else None


def document(outcome: Outcome) -> dict[str, Any]:
    """As `--json` prints it."""
    stalls = [stall for one in outcome.players for stall in one.stalls_s]
    return {
        "scenario": outcome.scenario,
        "ok": not outcome.complaints,
        "victim": outcome.victim or None,
        "viewers": len(outcome.players),
        "longest_stall_s": round(max(stalls, default=0.0), 2),
        "stalls": len(stalls),
        "wrong_bytes": sum(one.wrong_bytes for one in outcome.players),
        "failed_requests": sum(one.failed_requests for one in outcome.players),
        "moved_s": outcome.moved_s,
        "ttl_s": TTL_S,
        "returned": outcome.returned,
        "complaints": outcome.complaints,
        "players": [summary(one) for one in outcome.players],
    }
