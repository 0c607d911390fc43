"""The keeper: the one process of an appliance that writes.

It owns the cache and its index, runs the fills that workers and the plan ask for, obeys notices,
reports, and answers operators on the admin port.
"""

import asyncio
import secrets
import tempfile
import time
from collections.abc import Callable, Set
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from appliance.admin import make_admin_app
from appliance.board import MAX_WORKERS, Board, Word
from appliance.cache import Cache
from appliance.fill import Fills
from appliance.folders import Folders
from appliance.gate import FileWant
from appliance.health import Health, Vitals, judge
from appliance.holdings import Ledger
from appliance.link import MAX_LINE_BYTES, WorkerDesk
from appliance.plan import PlanFollower
from appliance.scrub import Scrubber
from appliance.settings import ApplianceSettings
from appliance.sources import PeerSource, Source, StoreSource
from appliance.steering_link import SteeringLink
from appliance.stock import Stock
from appliance.upkeep import Upkeep
from media.fleet import Counters, Notices, Plan, Report
from media.inventory import INVENTORY_NAME, Inventory
from media.keys import Identity
from media.objects import ObjectStore
from media.token import sign_machine_token
from runtime.durable import write_durably
from runtime.errors import Problem
from runtime.log import logger
from runtime.service import Service, serve_http

_MAX_PEERS_ASKED = 3
_ACK_S = 10.0


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
        self.ledger = Ledger(self._boot_id)
        self.cache.changed = self._on_change
        self.cache.returned = self._purge_again
        self.plan = PlanFollower(self.fills, settings.fill_concurrency, self._read, self._obey_plan)
        self.fills.wanted = self.cache.wanted = self.plan.wants
        self._session: aiohttp.ClientSession | None = None
        self._totals_before = {word: self.board.total(word) for word in Word}  # of earlier boots
        self._sent_before = (time.monotonic(), self.board.total(Word.BYTES_OUT))
        self._egress_bps = 0.0

    async def run(self, service: Service, socket_path: Path) -> None:
        """Serves workers, plan, steering and operators until the service stops."""
        self._read_notices()
        self.cache.open()
        # An earlier run may have ended between writing its notices and obeying them.
        self.obey_notices(self.notices)
        timeout = aiohttp.ClientTimeout(total=None, connect=2.0, sock_read=10.0)
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
            self._session = session
            self.fills.sources = [StoreSource(self._store)]
            desk = WorkerDesk(self.fills, self.cache.path, self.cache.touch)
            server = await asyncio.start_unix_server(
                desk.serve, path=str(socket_path), limit=MAX_LINE_BYTES
            )
            runner, admin_url = await serve_http(
                make_admin_app(self, self._trust), self.settings.admin_listen
            )
            try:
                service.spawn("cache", self.upkeep.run())
                self._follow_steering(service, session)
                service.spawn("trust", self._watch_trust())
                service.ready(admin=admin_url)
                await service.stopping.wait()
                await service.end_tasks()
            finally:
                await runner.cleanup()
                server.close()
                await self.fills.close()
                await self.upkeep.close()
                await self._store.close()

    # What it tells.

    def health(self) -> Health:
        """The appliance's health at this moment."""
        rows = [self.board.row(slot) for slot in range(MAX_WORKERS)]
        alive = sum(1 for row in rows if row[Word.ALIVE])
        most = self.settings.max_connections * max(1, self.settings.workers)
        return judge(
            Vitals(
                egress_load=self._egress_bps / self.settings.capacity_bps,
                connection_load=self.board.total(Word.OPEN) / most,
                disk_ok=self.cache.disk_ok,
                disk_trouble=self.cache.trouble,
                disks_out=self.cache.out,
                workers_alive=alive,
                draining=self.notices.draining,
            )
        )

    def report(self) -> Report:
        """The next report; its sequence number is used up."""
        self._measure_egress()
        health = self.health()
        self._sequence += 1
        return Report(
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
            open_connections=self.board.total(Word.OPEN),
            budget_bytes=self.cache.budget_bytes,
            used_bytes=self.cache.used_bytes,
            plan_version=self.plan.plan.version if self.plan.plan else "",
            notices_version=self.notices.version,
            counters=self.counters(),
        )

    def counters(self) -> Counters:
        """What has been done since this boot, summed over workers. (The board remembers more.)"""

        def done(word: Word) -> int:
            return self.board.total(word) - self._totals_before[word]

        return Counters(
            requests=done(Word.REQUESTS),
            bytes_out=done(Word.BYTES_OUT),
            hits=done(Word.HITS),
            misses=done(Word.MISSES),
            rejects=done(Word.REJECTS),
            fill_bytes_peer=self.fills.bytes_by_kind["peer"],
            fill_bytes_store=self.fills.bytes_by_kind["store"],
            fill_failures=self.fills.failures,
            evictions=self.cache.evictions,
        )

    def metrics(self) -> bytes:
        """The Prometheus exposition."""
        registry = CollectorRegistry()
        numbers = self.counters().model_dump() | {
            "open_connections": self.board.total(Word.OPEN),
            "cache_used_bytes": self.cache.used_bytes,
            "cache_budget_bytes": self.cache.budget_bytes,
            "cache_files": len(self.cache),
            "cache_pinned_bytes": self.cache.pinned_bytes,
            "cache_folders_out": sum(not stock.in_service for stock in self.cache.stocks),
            "cache_scrubbed_bytes": self.scrubber.scrubbed_bytes,
            "cache_corrupt_files": self.scrubber.corrupt_files,
            "fills_in_flight": len(self.fills),
            "plan_missing_files": self.plan.missing_files,
            "load": self.health().load,
        }
        for name, value in numbers.items():
            Gauge(f"nearcast_appliance_{name}", name.replace("_", " "), registry=registry).set(
                value
            )
        acked = self.board.acked()
        by_folder: dict[str, Callable[[Stock], int]] = {
            "used_bytes": lambda stock: stock.used_bytes(acked),
            "budget_bytes": lambda stock: stock.budget_bytes,
            "in_service": lambda stock: stock.in_service,
        }
        for name, of in by_folder.items():
            full_name = f"nearcast_appliance_cache_folder_{name}"
            gauge = Gauge(full_name, name.replace("_", " "), ["folder"], registry=registry)
            for stock in self.cache.stocks:
                gauge.labels(str(stock.shelf.folder)).set(of(stock))
        return generate_latest(registry)

    # What it does.

    async def purge(self, package_id: str) -> None:
        """No file of the package is held, and no worker has one at hand any more: what is asked for
        from now on is brought anew. Raises TimeoutError."""
        self.fills.give_up({package_id}, Problem("unavailable", retry_after_s=1))
        await self.board.acknowledged(self._unlink({package_id}), _ACK_S)

    def drain(self, draining: bool) -> None:
        """Takes no new sessions, or takes them again; until steering's next notices."""
        notices = self.notices.model_copy(update={"draining": draining})
        write_durably(self._home / "notices.json", notices.model_dump_json().encode())
        self.obey_notices(notices)

    def obey_notices(self, notices: Notices) -> None:
        """The notices hold for workers and keeper."""
        self.notices = notices
        self.board.advance()  # workers go by them from now on; unlinking may take a while
        purged = frozenset(purge.package_id for purge in notices.purges)
        self.fills.purge(purged)
        self._unlink(purged)
        logger().info("notices", version=notices.version, draining=notices.draining)

    def _purge_again(self) -> None:
        self._unlink({purge.package_id for purge in self.notices.purges})

    def _unlink(self, packages: Set[str]) -> int:
        """Returns the epoch, a new one, after which no worker serves their files."""
        before = len(self.cache)
        epoch = self.cache.remove_packages(packages)
        if len(self.cache) < before:
            logger().info("purged", packages=len(packages), files=before - len(self.cache))
        return epoch

    def _obey_plan(self, plan: Plan) -> None:
        assert self._session is not None
        peers: list[Source] = [
            PeerSource(peer, self._identity, self._session)
            for peer in plan.peers[:_MAX_PEERS_ASKED]
            if peer.appliance_id != self.appliance_id
        ]
        self.fills.sources = [*peers, StoreSource(self._store)]
        self.cache.pin_wanted()
        logger().info("plan", version=plan.version, items=len(plan.items), peers=len(peers))

    def _follow_steering(self, service: Service, session: aiohttp.ClientSession) -> None:
        url, own = self.settings.steering_url.rstrip("/"), self.appliance_id
        link = SteeringLink(url, own, session, self._authorize)
        service.spawn(
            "reports",
            link.report(
                self.report,
                lambda: self.health().state,
                self.ledger,
                self.settings.report_interval_s,
            ),
        )
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
        package_id, _, path = key.partition("/")
        if held and path == INVENTORY_NAME:
            try:
                raw = self.cache.path(key).read_bytes()
                self.ledger.know(Inventory.model_validate_json(raw))
            except (OSError, ValueError):
                logger().error("unreadable_inventory", package_id=package_id)

    def _measure_egress(self) -> None:
        """Smooths the sending rate over about three reports."""
        now, sent = time.monotonic(), self.board.total(Word.BYTES_OUT)
        before, sent_before = self._sent_before
        self._sent_before = now, sent
        if now > before:
            self._egress_bps += 0.3 * ((sent - sent_before) * 8 / (now - before) - self._egress_bps)

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


def private_socket(name: str) -> Path:
    """A path for a Unix socket, short enough (107 bytes) and in a folder of our own (0700)."""
    return Path(tempfile.mkdtemp(prefix="nearcast-")) / name
