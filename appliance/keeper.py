"""The keeper: the one process of an appliance that writes.

It owns the cache and its index, runs the fills that workers and the plan ask for, obeys notices,
reports, and answers operators on the admin port.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from appliance.admin import make_admin_app
from appliance.board import Board
from appliance.cache import Cache
from appliance.demand import DemandTally
from appliance.desk import WorkerDesk
from appliance.early_fills import EarlyFills
from appliance.fill import Fills, Home
from appliance.folders import Folders
from appliance.health import Health
from appliance.holdings import Ledger
from appliance.home import PEERS_ASKED, Asker, whom_to_ask
from appliance.link import MAX_LINE_BYTES, reachable
from appliance.metrics import exposition
from appliance.plan import PlanFollower
from appliance.purge import Purger
from appliance.scrub import Scrubber
from appliance.settings import ApplianceSettings
from appliance.sources import PeerSource, Source, StoreSource
from appliance.spans import tell_answers
from appliance.steering_link import SteeringLink
from appliance.upkeep import Upkeep
from appliance.want import FileWant
from appliance.watch import Watch
from media.fleet import Notices, Plan, Report, fitting
from media.http_get import Getter
from media.inventory import INVENTORY_NAME, Inventory
from media.keys import Identity
from media.objects import ObjectStore
from media.token import sign_machine_token
from runtime.durable import write_durably
from runtime.log import logger
from runtime.service import Service, serve_http


class Keeper:
    """One appliance's writer. `run` is its whole life."""

    def __init__(
        self,
        appliance_id: str,
        data: Path,
        home: Path,
        folders: Folders,
        public_url: str,
        store: ObjectStore,
        settings: ApplianceSettings,
    ) -> None:
        self.appliance_id = appliance_id
        self.settings = settings
        self.notices = Notices(version=0)
        self._home = home
        self._public_url = public_url
        self._store = store
        self._boot_id = secrets.token_hex(8)
        self._sequence = 0
        self._identity = Identity.open(
            appliance_id, "appliance", data / "secrets" / f"{appliance_id}.key"
        )
        self._trust = data / "secrets" / "trust.json"
        self.board = Board(home / "board")
        self.cache = Cache(folders, self.board, settings.policy, settings.admission)
        self.scrubber = Scrubber(self.cache, settings.scrub_bytes_per_s)
        self.upkeep = Upkeep(self.cache, self.scrubber)
        self.fills = Fills(self.cache, settings.fill_stall_s)
        self.early = EarlyFills(
            self.fills, self.board, settings.early_fills, lambda: self.notices.draining
        )
        self.ledger = Ledger(self._boot_id)
        self.demand = DemandTally(self._boot_id)
        self.cache.changed = self._on_change
        self.plan = PlanFollower(self.fills, settings.fill_concurrency, self._read, self._obey_plan)
        self.fills.wanted = self.cache.wanted = self.plan.wants
        self.purger = Purger(self.cache, self.fills, self.board, home / "purged.json")
        self.cache.returned = self.purger.again
        self._getters: dict[str, Getter] = {}  # by peer's address
        self.watch = Watch(
            self.board, self.cache, self.fills, settings, lambda: self.notices.draining
        )

    async def run(self, service: Service, socket_path: Path) -> None:
        """Serves workers, plan, steering and operators until the service stops."""
        self._read_notices()
        self.cache.open()
        # An earlier run may have ended between writing its notices and obeying them.
        self.obey_notices(self.notices)
        timeout = aiohttp.ClientTimeout(total=None, connect=2.0, sock_read=10.0)
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
            self.fills.sources = [StoreSource(self._store)]
            desk = WorkerDesk(
                self.fills,
                self.cache.where,
                self.cache.touch,
                self.early,
                lambda notes: self.watch.hear(notes, time.time()),
                tell_answers,
                self.demand.served,
            )
            with reachable(socket_path) as path:
                server = await asyncio.start_unix_server(
                    desk.serve, path=path, limit=MAX_LINE_BYTES
                )
            socket_path.chmod(0o600)
            runner, admin_url = await serve_http(
                make_admin_app(self, self._trust), self.settings.admin_listen
            )
            try:
                service.spawn("cache", self.upkeep.run())
                self._follow_steering(service, session)
                service.spawn("trust", self._watch_trust())
                service.spawn("purges", self.purger.run())
                service.spawn("watch", self.watch.run())
                service.ready(admin=admin_url)
                await service.stopping.wait()
                await service.end_tasks()
            finally:
                await runner.cleanup()
                server.close()
                await self.fills.close()
                self._getters_for(set())
                await self.upkeep.close()
                await self._store.close()

    # What it tells.

    def health(self) -> Health:
        """The appliance's health at this moment."""
        return self.watch.look(time.monotonic())

    def report(self) -> Report:
        """The next report; its sequence number is used up."""
        health = self.health()
        self._sequence += 1
        report = Report(
            appliance_id=self.appliance_id,
            site=self.settings.site,
            url=self._public_url,
            boot_id=self._boot_id,
            sequence=self._sequence,
            clock=datetime.now(UTC),
            state=health.state,
            bottleneck=health.bottleneck,
            load=min(10.0, round(health.load, 4)),
            capacity_bps=self.settings.capacity_bps,
            open_connections=self.watch.open_connections,
            budget_bytes=self.cache.budget_bytes,
            used_bytes=self.cache.used_bytes,
            plan_version=self.plan.plan.version if self.plan.plan else "",
            plan_state=self.plan.state,
            plan_missing_files=self.plan.missing_files,
            plan_missing_bytes=self.plan.missing_bytes,
            notices_version=self.notices.version,
            purged_serial=self.purger.serial,
            purged=tuple(self.purger.latest),
            counters=self.watch.counters(),
            quality=self.watch.players.totals,
            starved=self.watch.players.most_starved(time.time()),
        )
        return fitting(report)

    def metrics(self) -> bytes:
        """The Prometheus exposition."""
        self.health()
        return exposition(self.watch.figures(self.plan, self.early))

    # What it does.

    def drain(self, draining: bool) -> None:
        """Takes no new sessions, or takes them again; until steering's next notices."""
        notices = self.notices.model_copy(update={"draining": draining})
        write_durably(self._home / "notices.json", notices.model_dump_json().encode())
        self.obey_notices(notices)

    def obey_notices(self, notices: Notices) -> None:
        """The notices hold for workers and keeper; what they purge is unlinked behind."""
        self.notices = notices
        self.board.advance()  # workers go by them from now on
        self.purger.hear(notices)
        logger().info("notices", version=notices.version, draining=notices.draining)

    def _obey_plan(self, plan: Plan) -> None:
        getters = self._getters_for({peer.url for peer in plan.peers})
        named = {
            peer.appliance_id: PeerSource(
                peer, self.settings.site, self._identity, getters[peer.url]
            )
            for peer in plan.peers
            if peer.appliance_id != self.appliance_id
        }
        peers = tuple(named.values())[:PEERS_ASKED]
        self.fills.sources = [*peers, StoreSource(self._store)]
        firsts = {
            item.package_id: tuple(named[one] for one in item.sources if one in named)
            for item in plan.items
            if item.sources
        }
        self.fills.first = lambda want: firsts.get(want.package_id, ())
        self.fills.home = self._homes(plan, getters)
        self.cache.pin_wanted()
        logger().info("plan", version=plan.version, items=len(plan.items), peers=len(peers))

    def _homes(
        self, plan: Plan, getters: Mapping[str, Getter]
    ) -> Callable[[FileWant, Asker], Home | None]:
        """Who is to bring a file for us."""
        site = self.settings.site
        sites = {site: {self.appliance_id: self.settings.capacity_bps}}
        homes: dict[str, Source] = {}
        for peer in plan.peers:
            if peer.site is not None and (peer.tier or peer.site == site):
                sites.setdefault(peer.site, {})[peer.appliance_id] = peer.capacity_bps
                asker = Asker.SITE if peer.site == site else Asker.TIER
                homes[peer.appliance_id] = PeerSource(
                    peer, site, self._identity, getters[peer.url], asker
                )

        def home(want: FileWant, asker: Asker) -> Home | None:
            found = whom_to_ask(want.package_id, self.appliance_id, site, sites, asker)
            return None if found is None else Home(homes[found[0]], found[1])

        return home

    def _getters_for(self, urls: set[str]) -> dict[str, Getter]:
        """Connections to these peers, those that stand already among them; others are closed."""
        before = self._getters
        self._getters = {url: before.get(url) or Getter(url) for url in urls}
        for url in before.keys() - urls:
            before[url].close()
        return self._getters

    def _follow_steering(self, service: Service, session: aiohttp.ClientSession) -> None:
        url, own = self.settings.steering_url.rstrip("/"), self.appliance_id
        link = SteeringLink(url, own, session, self._authorize)
        service.spawn(
            "reports",
            link.report(
                self.report,
                lambda: (self.health().state, self.purger.serial),
                self.ledger,
                self.settings.report_interval_s,
            ),
        )
        service.spawn("demand", link.tell_demand(self.demand, self.settings.demand_interval_s))
        service.spawn(
            "notices",
            link.hear_notices(self._home / "notices.json", self.notices, self.obey_notices),
        )
        service.spawn(
            "plan",
            self.plan.follow(
                session, f"{url}/v1/plans/{own}", self._authorize, self.settings.plan_poll_s
            ),
        )

    def _authorize(self) -> str:
        return sign_machine_token(self._identity, "steering", int(time.time()))

    def _read(self, want: FileWant) -> bytes:
        return self.cache.path(want.key).read_bytes()

    def _read_notices(self) -> None:
        path = self._home / "notices.json"
        try:
            self.notices = Notices.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            write_durably(path, self.notices.model_dump_json().encode())

    def _on_change(self, key: str, held: bool) -> None:
        """The ledger follows the cache; with an inventory it learns what a package consists of."""
        self.ledger.change(key, held)
        if not held:
            self.plan.lost(key)
            self.early.lost(key)
        package_id, _, path = key.partition("/")
        if held and path == INVENTORY_NAME:
            try:
                raw = self.cache.path(key).read_bytes()
                self.ledger.know(Inventory.model_validate_json(raw))
            except (OSError, ValueError):
                logger().error("unreadable_inventory", package_id=package_id)

    async def _watch_trust(self) -> None:
        """Workers look again whenever the key ring changes."""
        seen = None
        while True:
            try:
                status = self._trust.stat()
                stamp = status.st_ino, status.st_mtime_ns
            except FileNotFoundError:
                stamp = None
            if stamp != seen:
                seen = stamp
                self.board.advance()
            await asyncio.sleep(1.0)
