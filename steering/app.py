"""Steering, wired: the one place where its parts meet."""

import asyncio
import time
from pathlib import Path

import dns.name

from media.keys import Identity
from media.rank import Limits
from media.token import sign_machine_token
from runtime.api import make_app
from runtime.client import Client
from runtime.launch import Launch
from runtime.machines import MachineGate
from runtime.service import Service, serve_http
from runtime.settings import load
from runtime.state import open_state
from steering.archive import Archive
from steering.catalog import PackageCatalog
from steering.contexts import Contexts
from steering.decision_log import DecisionLog
from steering.decisions import fleet_line, map_line
from steering.demand import DemandBook, Sink
from steering.dns import DnsServer, Zone
from steering.evidence import EvidenceBook
from steering.fills import FillBook
from steering.geoip import open_locator
from steering.machines import MachineList
from steering.metrics import SteeringMetrics
from steering.notices import NoticeDesk
from steering.pins import PinDesk
from steering.plan_desk import PlanDesk
from steering.prober import Prober
from steering.purges import PurgeDesk
from steering.ranker import Ranker
from steering.roster import RosterBook
from steering.route_files import read_routes
from steering.routes import routes
from steering.server import Steering
from steering.settings import SteeringSettings
from steering.steer import SteerDesk
from steering.throughput import ThroughputBook

NAME = "steering"

# Sessions whose bits a site gives a viewer at once are enough: it fills a buffer in a quarter of
# its time.
_ENOUGH = 4


async def main(service: Service, launch: Launch) -> None:
    """The service, until it is asked to stop."""
    settings = load(SteeringSettings, NAME, file=launch.config, flags=launch.flags)
    await serve(service, launch.data, settings)


async def serve(service: Service, data: Path, settings: SteeringSettings) -> None:
    """Steering answers until the service stops."""
    secrets = data / "secrets"
    identity = Identity.open(NAME, "steering", secrets / f"{NAME}.key")
    geography = settings.geography(await asyncio.to_thread(read_routes, settings.routes_files))
    atlas = geography.atlas(open_locator(settings.geoip_file))
    roster = RosterBook(
        atlas,
        report_timeout_s=settings.report_timeout_s,
        forget_s=settings.forget_s,
        session_bps=settings.session_bps,
        recovery_s=settings.recovery_s,
    )
    state = open_state(settings.state)
    paces = ThroughputBook(_ENOUGH * settings.session_bps)
    control_plane = Client(
        settings.control_plane_url,
        authorize=lambda: sign_machine_token(identity, "control", int(time.time())),
    )
    notices = NoticeDesk(data / NAME / "notices.json")
    roster.forget(notices.board.forgotten)
    limits = Limits(settings.report_timeout_s, settings.clock_skew_s, settings.full_load)
    decisions = DecisionLog(
        data / NAME / "decisions.jsonl",
        settings.decision_log_bytes,
        lambda: map_line(geography, settings.session_bps, limits),
        lambda now_s: fleet_line(now_s, roster.everyone(now_s, notices.board.draining)),
    )
    metrics = SteeringMetrics()
    evidence = EvidenceBook(data / NAME / "evidence.json", time.time())
    ranker = Ranker(limits, atlas, roster, notices, paces, decisions)
    contexts = Contexts.open(secrets / "steering-context.key")
    desk = SteerDesk(settings, ranker, contexts, paces, metrics)
    catalog = PackageCatalog(control_plane, data / NAME / "packages.json", settings.catalog_poll_s)
    pins = PinDesk(data / NAME / "pins.json")
    plans = PlanDesk(settings, atlas, catalog, roster, notices, pins, evidence)
    steering = Steering(
        settings=settings,
        geography=geography,
        atlas=atlas,
        roster=roster,
        ranker=ranker,
        desk=desk,
        archive=Archive(state, roster, paces, settings.forget_s),
        notices=notices,
        purges=PurgeDesk(
            data / NAME / "purges",
            notices,
            roster,
            deadline_s=settings.purge_deadline_s,
            keep_s=settings.purge_keep_s,
            known_after_s=settings.report_timeout_s,
        ),
        catalog=catalog,
        pins=pins,
        plans=plans,
        fills=FillBook(settings.live_copies),
        demand=DemandBook(_sink(metrics, evidence)),
        contexts=contexts,
        metrics=metrics,
    )
    _watch(steering)
    await steering.archive.sync(time.time())
    gate = MachineGate(secrets / "trust.json", NAME, lambda: notices.board.keys)
    runner, url = await serve_http(
        make_app(routes(steering), gate.authenticate), settings.listen, desk.express
    )
    desk.stand_at(settings.public_url or url)
    names = _names(settings, steering)
    urls = {"http": url}
    try:
        if settings.dns_listen:
            urls["dns"] = f"dns://{await names.start(settings.dns_listen)}"
        service.spawn("machines", MachineList(control_plane, notices, roster).follow())
        service.spawn("decisions", decisions.run())
        _spawn(service, steering, settings)
        service.ready(**urls)
        await service.stopping.wait()
    finally:
        await names.stop()
        await runner.cleanup()
        await service.end_tasks()
        await steering.archive.sync(time.time())
        await steering.purges.write()
        await asyncio.to_thread(evidence.write, time.time())
        await decisions.flush()
        await control_plane.close()
        await state.close()


def _sink(metrics: SteeringMetrics, evidence: EvidenceBook) -> Sink:
    def demanded(region: str, package_id: str, rendition_id: str, sent: int, at_s: float) -> None:
        metrics.demand_bytes.labels(region=region).inc(sent)
        evidence.add(region, package_id, rendition_id, sent, at_s)

    return demanded


def _spawn(service: Service, steering: Steering, settings: SteeringSettings) -> None:
    """What goes on behind the answers."""
    service.spawn("catalog", steering.catalog.follow())
    service.spawn("plans", steering.plans.keep())
    service.spawn("purges", steering.purges.keep())
    service.spawn("prober", Prober(steering.roster).run())
    service.spawn("archive", _keep(steering, settings.report_interval_s))


def _names(settings: SteeringSettings, steering: Steering) -> DnsServer:
    return DnsServer(
        Zone(
            dns.name.from_text(settings.dns_zone),
            settings.dns_ttl_s,
            steering.find_for_name,
            steering.atlas.network,
        )
    )


async def _keep(steering: Steering, interval_s: float) -> None:
    """The roster goes to the state, and appliances long silent out of it, for ever."""
    while True:
        await asyncio.sleep(interval_s)
        await steering.archive.sync(time.time())
        steering.roster.forget_silent(time.time())
        steering.demand.forget(record.report.appliance_id for record in steering.roster.records())


def _watch(steering: Steering) -> None:
    """Gauges of what the parts know."""
    metrics, roster = steering.metrics, steering.roster
    metrics.watch("appliances", "Appliances in the roster", lambda: roster.size)
    metrics.watch("appliances_alive", "Of these, alive", lambda: len(roster.members(time.time())))
    metrics.watch("packages", "Packages to place", lambda: len(steering.catalog.listing.packages))
    metrics.watch("packages_live", "Of these, enough copies stand", steering.packages_live)
    metrics.watch(
        "notices_version", "Version of the notices", lambda: steering.notices.board.version
    )
    metrics.watch_each(
        "throughput_bits_per_second",
        "What players measured lately, by their own word: the mean over networks",
        "site",
        lambda: steering.desk.paces.by_site(time.time()),
    )
    metrics.watch("purges_open", "Purges under way", lambda: steering.purges.open)
    metrics.watch("state_away", "1 while the state does not answer", lambda: steering.archive.away)
    metrics.watch(
        "control_plane_away",
        "1 while the control plane does not answer",
        lambda: steering.catalog.away,
    )
