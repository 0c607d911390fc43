"""Ranking while steering is away: by its own decisions (`media.rank`), from the last copy of what
it knew.

The copy is of a moment: who was healthy then is taken to be, for the players have several pathways
and leave one that fails. It is on disk as well, so that a control plane that starts while steering
is away can rank, too. What appliances hold is not in it; each title has its homes all the same.
"""

import asyncio
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from control_plane.steering_client import SteeringClient
from media.fleet import RankAnswer, RankRequest, Roster, RosterEntry
from media.inventory import sha256_of
from media.places import Atlas, Geography
from media.rank import (
    Asked,
    Candidate,
    Limits,
    Standing,
    host_of,
    rank,
    standings,
    with_last_resort,
)
from runtime.durable import write_durably
from runtime.errors import Problem
from runtime.log import logger

POLL_S = 5.0
_LIMITS = Limits(report_timeout_s=0.0)


class Copy(BaseModel):
    """What steering knew."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    geography: Geography
    roster: Roster


class Standby:
    """Follows steering's roster and map, and ranks by them."""

    def __init__(self, steering: SteeringClient, path: Path, poll_s: float = POLL_S) -> None:
        """Starts with the copy in `path`, or with nothing."""
        self._steering = steering
        self._path = path
        self._poll_s = poll_s
        self._tag = ""
        self._geography: Geography | None = None
        self._atlas: Atlas | None = None
        self.roster: Roster | None = None
        self._fleet = _Fleet({})
        self._written = ""
        try:
            copy = Copy.model_validate_json(path.read_bytes())
            self._take(copy.geography, copy.roster)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            logger().warning("standby_unreadable", path=str(path), why=type(error).__name__)

    @property
    def sites(self) -> frozenset[str]:
        """The sites of the copy; none without one."""
        geography = self._geography
        return frozenset(site.id for site in geography.sites) if geography else frozenset()

    async def follow(self) -> None:
        """Looks for ever."""
        while True:
            try:
                await self.refresh()
            except Problem:
                pass  # who asks steering for something says so
            await asyncio.sleep(self._poll_s)

    async def refresh(self) -> None:
        """The copy is what steering knows now. Raises Problem `steering_unavailable`."""
        raw = await self._steering.geography(self._tag)
        geography = self._geography
        if raw:
            geography = await asyncio.to_thread(_read, raw)
        roster = await self._steering.roster()
        if geography is None or not roster.appliances:
            return  # one that has just started knows nobody: what it knew before is better
        if raw:
            self._tag = sha256_of(raw)
        try:
            await asyncio.to_thread(self._take, geography, roster)
        except ValueError as error:
            raise Problem("steering_unavailable", f"Steering's map is wrong: {error}.") from None
        await asyncio.to_thread(self._write, Copy(geography=geography, roster=roster))

    def rank(self, request: RankRequest) -> RankAnswer | None:
        """What steering would have answered, as far as can be told; None without a copy. Raises
        Problem `unknown_region`."""
        atlas, geography = self._atlas, self._geography
        if atlas is None or geography is None:
            return None
        try:
            place = atlas.place(request.client, request.region)
        except KeyError:
            raise Problem("unknown_region", f"There is no region {request.region!r}.") from None
        asked = Asked(request.package_id, place, request.count, session_id=request.session_id or "")
        answer = rank(asked, self._fleet, atlas, thorough=request.thorough)
        return with_last_resort(answer, geography.last_resort_url)

    def _take(self, geography: Geography, roster: Roster) -> None:
        if geography is not self._geography:
            self._atlas = geography.atlas()
            self._geography = geography
        by_site: dict[str, list[Candidate]] = {}
        for entry in roster.appliances:
            by_site.setdefault(entry.report.site, []).append(_candidate(entry))
        self.roster, self._fleet = roster, _Fleet(by_site)

    def _write(self, copy: Copy) -> None:
        """The map and who is where; loads change all the time, and are not worth a write."""
        places = [(e.report.appliance_id, e.report.url, e.alive) for e in copy.roster.appliances]
        key = repr((self._tag, places))
        if key == self._written:
            return
        try:
            write_durably(self._path, copy.model_dump_json().encode())
            self._written = key
        except OSError as error:
            logger().warning("standby_not_written", why=str(error))


class _Fleet:
    def __init__(self, by_site: dict[str, list[Candidate]]) -> None:
        self._sites = {site: standings(group, _LIMITS) for site, group in by_site.items()}

    def at(self, site: str) -> tuple[Standing, ...]:
        return self._sites.get(site, ())

    def held(self, appliance_id: str) -> float:
        return 0.0

    def holds(self, site: str) -> bool:
        return False


def _candidate(entry: RosterEntry) -> Candidate:
    report = entry.report
    return Candidate(
        appliance_id=report.appliance_id,
        site=report.site,
        url=report.url,
        host=host_of(report.url),
        state=report.state,
        bottleneck=report.bottleneck,
        # Steering has judged, by its own settings: whoever was not alive is silent.
        age_s=0.0 if entry.alive or report.state == "out" else entry.age_s,
        clock_skew_s=0.0,
        draining=entry.draining,
        load=report.load,
        capacity_bps=report.capacity_bps,
    )


def _read(raw: bytes) -> Geography:
    try:
        return Geography.model_validate_json(raw)
    except ValidationError:
        raise Problem("steering_unavailable", "Steering's map is not one.") from None
