"""What steering answers: handlers that ask the decisions, and do as they say."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from media.fills import FillPlan, FillStatus, Pin, PinRequest
from media.fleet import (
    Demand,
    DrainRequest,
    Holdings,
    Notices,
    PurgeTarget,
    RankAnswer,
    RankRequest,
    Report,
    ReportAnswer,
    RevokeRequest,
    Roster,
    TombstoneRequest,
)
from media.inventory import sha256_of
from media.places import Atlas, Geography
from media.purges import PurgeDetails, PurgeJobs
from media.rank import Asked, with_last_resort
from runtime.api import Call, has_tag, model_response
from runtime.errors import Problem
from steering.archive import Archive
from steering.catalog import PackageCatalog
from steering.contexts import Context, Contexts
from steering.demand import DemandBook
from steering.fills import FillBook
from steering.metrics import SteeringMetrics
from steering.notices import MAX_WAIT_S, NoticeDesk
from steering.pins import PinDesk
from steering.placement import PlanVersions, Wanting, left_out, plan
from steering.plan_desk import PlanDesk
from steering.purges import PurgeDesk
from steering.ranker import Ranker
from steering.roster import Record, RosterBook
from steering.settings import SteeringSettings
from steering.steer import SteerDesk

CONTEXT_LIFE_S = 86_400  # when the session's own end is not given


class Since(BaseModel):
    """Which notices are known, and how long to wait for others."""

    model_config = ConfigDict(extra="ignore")
    since: int = Field(0, ge=0)
    wait_s: float = Field(MAX_WAIT_S, ge=0, le=MAX_WAIT_S)


class Health(BaseModel):
    """How steering is. It is ready also while others are away: it goes on with what it knows."""

    ready: bool = True
    appliances: int
    alive: int
    packages: int
    state_away: bool
    control_plane_away: bool


@dataclass
class Steering:
    """The parts of the room."""

    settings: SteeringSettings
    geography: Geography
    atlas: Atlas
    roster: RosterBook
    ranker: Ranker
    desk: SteerDesk
    archive: Archive
    notices: NoticeDesk
    purges: PurgeDesk
    catalog: PackageCatalog
    pins: PinDesk
    plans: PlanDesk
    fills: FillBook
    demand: DemandBook
    contexts: Contexts
    metrics: SteeringMetrics
    now_s: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._plan_versions = PlanVersions()
        self._geography = self.geography.model_dump_json().encode()
        self._geography_tag = sha256_of(self._geography)

    async def take_report(self, call: Call) -> ReportAnswer:
        appliance_id = _own_name(call)
        report = call.body(Report)
        if report.appliance_id != appliance_id:
            raise Problem("not_allowed", "The report is another appliance's.")
        news = self.roster.hear(report, self.now_s())
        if news:
            self.archive.heard(appliance_id)
            self.purges.hear(report)
        self.metrics.reports.labels(news=str(news).lower()).inc()
        shelf = self.roster.shelves.get(appliance_id)
        within_s = self.settings.report_interval_s
        if shelf is None or shelf.boot_id != report.boot_id:
            return ReportAnswer(within_s=within_s)
        return ReportAnswer(holdings_sequence=shelf.sequence, within_s=within_s)

    async def take_holdings(self, call: Call) -> None:
        appliance_id = _own_name(call)
        try:
            news = self.roster.take(appliance_id, call.body(Holdings))
        except Problem as problem:
            self.metrics.holdings.labels(outcome=problem.code).inc()
            raise
        if news:
            self.archive.taken(appliance_id)
        self.metrics.holdings.labels(outcome="taken" if news else "late").inc()

    async def take_demand(self, call: Call) -> None:
        record = self._known(_own_name(call))
        news = self.demand.take(
            record.report.appliance_id, self.region_of(record), call.body(Demand), self.now_s()
        )
        self.metrics.demand.labels(news=str(news).lower()).inc()

    async def give_plan(self, call: Call) -> web.Response:
        operators_ask = call.who.role == "control"
        record = self._known(call.path["appliance"] if operators_ask else _own_name(call))
        wanting = _wanting(record)
        site = self.atlas.sites[wanting.site]
        members = self.roster.members(self.now_s())
        purged = self.notices.purged()
        choice = await self.plans.choice(wanting.appliance_id)
        listing = self.catalog.listing
        inputs = (listing.revision, members, purged, self.pins.revision, self.plans.revision)
        version = self._plan_versions.find(wanting, *inputs)
        if version is not None and has_tag(call.request, version):
            return self._unchanged(version)
        made = plan(
            wanting,
            choice,
            listing.packages,
            members,
            self.atlas,
            purged=purged,
            pins=self.pins.board.at(site.id, site.region),
            window=self.settings.window(site.timezone),
            rate_bps=self.settings.rate_bps(wanting.appliance_id),
        )
        self._plan_versions.keep(made.version, wanting, *inputs)
        self.fills.planned(made)
        if operators_ask:
            more = left_out(choice, listing.packages)
            return model_response(FillPlan(**dict(made), left_out=more))
        if has_tag(call.request, made.version):
            return self._unchanged(made.version)
        self.metrics.plans.labels(answer="plan").inc()
        response = model_response(made)
        response.headers["ETag"] = f'"{made.version}"'
        return response

    async def give_fills(self, call: Call) -> FillStatus:
        now_s, roster = self.now_s(), self.roster
        appliances = [
            self.fills.appliance(record, self.region_of(record), roster.alive(record, now_s), now_s)
            for record in roster.records()
        ]
        packages = self.fills.packages(
            self.catalog.listing.packages,
            (one.appliance_id for one in appliances if one.alive),
            roster.shelves,
            self.pins.pins,
        )
        return FillStatus(
            appliances=tuple(appliances),
            packages=tuple(packages),
            pins=tuple(self.pins.pins.values()),
        )

    async def pin(self, call: Call) -> Pin:
        asked = call.body(PinRequest)
        for site in set(asked.sites) - self.atlas.sites.keys():
            raise Problem("unknown_site", f"There is no site {site!r}.")
        for region in set(asked.regions) - self.atlas.regions.keys():
            raise Problem("unknown_region", f"There is no region {region!r}.")
        package_id = call.path["package"]
        if package_id in self.notices.purged():
            raise Problem("purged")
        return await self.pins.pin(package_id, asked)

    async def unpin(self, call: Call) -> None:
        await self.pins.unpin(call.path["package"])

    def packages_live(self) -> int:
        """How many packages are live."""
        alive = (member.appliance_id for member in self.roster.members(self.now_s()))
        return self.fills.live(self.catalog.listing.packages, alive, self.roster.shelves)

    def region_of(self, record: Record) -> str:
        """The region that an appliance stands in."""
        return self.atlas.sites[record.report.site].region

    async def give_notices(self, call: Call) -> Notices:
        asked = call.query(Since)
        return await self.notices.wait(_own_name(call), asked.since, asked.wait_s)

    async def give_ranking(self, call: Call) -> RankAnswer:
        request = call.body(RankRequest)
        if request.package_id in self.notices.purged():
            raise Problem("purged")
        try:
            place = self.atlas.place(request.client, request.region)
        except KeyError:
            raise Problem("unknown_region", f"There is no region {request.region!r}.") from None
        asked = Asked(
            request.package_id,
            place,
            request.count,
            session_id=request.session_id or "",
            network=self.atlas.network(request.client or ""),
        )
        answer = self.ranker.rank(asked, self.now_s(), thorough=request.thorough)
        self.metrics.ranks.labels(outcome="ranked" if answer.pathways else "empty").inc()
        nearest = answer.pathways[0].appliance_id if answer.pathways else ""
        answer = with_last_resort(answer, self.settings.last_resort_url)
        for skipped in answer.skipped:
            self.metrics.skipped.labels(code=skipped.code).inc()
        if request.session_id is None or not answer.pathways:
            return answer
        self.roster.assign(nearest, request.session_id)
        ends = request.expires_at
        context = Context(
            session_id=request.session_id,
            package_id=request.package_id,
            region=place.region,
            client=request.client,
            offered=tuple(one.appliance_id for one in answer.pathways),
            expires_s=int(ends.timestamp() if ends else self.now_s() + CONTEXT_LIFE_S),
        )
        return answer.model_copy(
            update={"steering_url": self.desk.url(self.contexts.sign(context))}
        )

    def find_for_name(self, label: str, client: str) -> list[str]:
        """Appliances for the viewer with this address who asks for a name; for DNS. Of one site
        all: the order of addresses gets lost on the way, and each has its share of viewers."""
        asked = Asked(label, self.atlas.place(client), network=self.atlas.network(client))
        pathways = self.ranker.rank(asked, self.now_s()).pathways
        return [one.url for one in pathways if one.site == pathways[0].site]

    async def give_geography(self, call: Call) -> web.Response:
        if has_tag(call.request, self._geography_tag):
            return web.Response(status=304, headers={"ETag": f'"{self._geography_tag}"'})
        return web.Response(
            body=self._geography,
            content_type="application/json",
            headers={"ETag": f'"{self._geography_tag}"'},
        )

    async def give_roster(self, call: Call) -> Roster:
        return self.roster.entries(self.now_s(), self.notices.board.draining)

    async def drain(self, call: Call) -> None:
        appliance_id = call.path["appliance"]
        if appliance_id not in self.notices.board.draining:
            self._known(appliance_id)
        await self.notices.drain(appliance_id, call.body(DrainRequest).draining)

    async def entomb(self, call: Call) -> None:
        await self.purges.entomb(call.path["package"], call.body(TombstoneRequest).until)
        await self.pins.unpin(call.path["package"])

    async def purge(self, call: Call) -> PurgeDetails:
        return await self.purges.order(call.body(PurgeTarget))

    async def give_purges(self, call: Call) -> PurgeJobs:
        return self.purges.listed()

    async def give_purge(self, call: Call) -> PurgeDetails:
        return self.purges.shown(call.path["job"])

    async def cancel_purge(self, call: Call) -> PurgeDetails:
        return await self.purges.cancel(call.path["job"])

    async def revoke(self, call: Call) -> None:
        request = call.body(RevokeRequest)
        await self.notices.revoke(request.session_id, request.until)

    async def health(self, call: Call) -> Health:
        now_s = self.now_s()
        return Health(
            appliances=self.roster.size,
            alive=len(self.roster.members(now_s)),
            packages=len(self.catalog.listing.packages),
            state_away=self.archive.away,
            control_plane_away=self.catalog.away,
        )

    async def give_metrics(self, call: Call) -> web.Response:
        return web.Response(
            body=self.metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    def _known(self, appliance_id: str) -> Record:
        record = self.roster.get(appliance_id)
        if record is None:
            raise Problem("unknown_appliance", f"{appliance_id} has not reported.")
        return record

    def _unchanged(self, version: str) -> web.Response:
        self.metrics.plans.labels(answer="unchanged").inc()
        return web.Response(status=304, headers={"ETag": f'"{version}"'})


def _own_name(call: Call) -> str:
    """The appliance of the path, which has to be the one that speaks."""
    appliance_id = call.path["appliance"]
    if call.who.name != appliance_id:
        raise Problem("not_allowed", "A machine speaks for itself alone.")
    return appliance_id


def _wanting(record: Record) -> Wanting:
    report = record.report
    return Wanting(report.appliance_id, report.site)
