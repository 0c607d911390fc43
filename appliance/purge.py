"""Purges: what an order names is unlinked, once, and every worker has let go of it.

Orders and tombstones come with the notices, which are on disk before they are heard; the serial of
the last order obeyed is on disk, too. So a purge that was begun is gone through again after a
restart, and one that is over is not.

What lies in a folder that is out of service cannot be unlinked; nobody is served from there, but it
may come back with all it has. So an order is not obeyed before every folder is in service, or gone
from `cache_dirs`.
"""

import asyncio
import json
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from appliance.board import Board
from appliance.cache import Cache
from appliance.fill import Fill, Fills
from appliance.want import FileWant
from media.fleet import MAX_PURGED, Notices, Purged, PurgeOrder, PurgeTarget
from media.inventory import INVENTORY_NAME, Inventory
from media.pattern import compile_pattern
from runtime.durable import write_durably
from runtime.errors import Problem
from runtime.log import logger

_ACK_S = 10.0  # a worker acknowledges within its tick, 0.25 s; one that does not is worth a word
_RETRY_S = 1.0
_FINDING_S = 0.1
# Between two looks at everything else the keeper has to do: some 10 ms, on a disk that is not busy.
# Not less, for every portion that is unlinked has the workers go through all they have open.
_LOOKED_AT = 5_000
_UNLINKED = 250
_TOMBSTONE = 0  # stands for a serial where no order is behind it


class FolderOut(OSError):
    """A cache folder is, or was meanwhile, out of service; `Purger.again` is called when it is
    back."""


class Selection:
    """The files that some targets name, each target known by a serial. Pure."""

    def __init__(self, targets: Iterable[tuple[int, PurgeTarget]]) -> None:
        self._packages: dict[str, int] = {}
        self._titles: dict[str, int] = {}
        self._patterns: list[tuple[int, Callable[[str], object]]] = []
        for serial, target in targets:
            if target.package_id is not None:
                self._packages.setdefault(target.package_id, serial)
            elif target.title_id is not None:
                self._titles.setdefault(target.title_id, serial)
            elif target.pattern is not None:
                self._patterns.append((serial, compile_pattern(target.pattern).match))

    @property
    def needs_titles(self) -> bool:
        """Some target cannot be judged by the package alone."""
        return bool(self._titles or self._patterns)

    def serial_of(self, title_id: str | None, package_id: str, path: str) -> int | None:
        """The serial of the first target of its kind that names the file; None: it stays. A file
        whose title nobody can tell goes: it is reachable only when its inventory has been brought
        anew, and then so can it be; to keep one that was named would break the word given."""
        if package_id in self._packages:
            return self._packages[package_id]
        if not self.needs_titles:
            return None
        if title_id is None:
            return min([*self._titles.values(), *(serial for serial, _ in self._patterns)])
        if title_id in self._titles:
            return self._titles[title_id]
        key = f"titles/{title_id}/{package_id}/{path}"
        return next((serial for serial, matches in self._patterns if matches(key)), None)

    def takes(self, want: FileWant) -> bool:
        """Whether some target names the file."""
        return self.serial_of(want.title_id, want.package_id, want.path) is not None


class Purger:
    """Obeys orders and tombstones. `serial` is that of the last order obeyed, `latest` what the
    last few found."""

    def __init__(self, cache: Cache, fills: Fills, board: Board, path: Path) -> None:
        """`path` is where the serial is kept. Without the file nothing has been obeyed."""
        self._cache = cache
        self._fills = fills
        self._board = board
        self._path = path
        self._orders: dict[int, PurgeOrder] = {}
        self._tombstones: frozenset[str] = frozenset()
        self._standing: set[str] = set()  # tombstones whose files may still be here
        self._doomed: set[Fill] = set()  # at most MAX_FLIGHTS: they end soon
        self._files: Counter[int] = Counter()  # unlinked for each open order
        self._news = asyncio.Event()
        self.latest: deque[Purged] = deque(maxlen=MAX_PURGED)
        try:
            self.serial = int(json.loads(path.read_bytes())["serial"])
        except FileNotFoundError:
            self.serial = 0
        except (ValueError, KeyError, TypeError):  # a purge too many does no harm
            logger().error("purged_serial_unreadable", path=str(path))
            self.serial = 0

    def hear(self, notices: Notices) -> None:
        """Nothing that is on its way of what these notices purge will be held; `run` does the rest.
        Orders that they no longer have are not obeyed any more, but for those under way."""
        tombstones = frozenset(purge.package_id for purge in notices.purges)
        self._standing |= tombstones - self._tombstones
        self._tombstones = tombstones
        heard = {order.serial: order for order in notices.orders if order.serial > self.serial}
        fresh = [order for serial, order in heard.items() if serial not in self._orders]
        self._orders = heard
        self._doom(Selection((order.serial, order) for order in fresh))
        self._fills.purge(tombstones)  # after the orders: its answer is 410
        self._news.set()

    def again(self) -> None:
        """A folder is back, with files that open orders name, or under a tombstone: they are
        unlinked."""
        self._standing |= self._tombstones
        self._news.set()

    async def run(self) -> None:
        """Obeys what is heard, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._obey(sorted(self._orders.values(), key=lambda order: order.serial))
            except FolderOut as error:
                logger().warning("purge_waits", why=str(error))
            except OSError as error:
                logger().error("purge_waits", why=str(error))
                await asyncio.sleep(_RETRY_S)
                self._news.set()

    async def purge(self, target: PurgeTarget) -> int:
        """No file that the target names is held, and no worker has one at hand any more: what is
        asked for from now on is brought anew. Returns how many there were. Raises TimeoutError when
        a worker does not let go, and OSError when a file cannot be unlinked."""
        chosen, files = Selection([(_TOMBSTONE, target)]), Counter[int]()
        self._doom(chosen)
        await self._unlink(chosen, files)
        await self._board.acknowledged(self._board.advance(), _ACK_S)
        logger().info("purged", target=str(target), files=files.total())
        return files.total()

    async def _obey(self, orders: Collection[PurgeOrder]) -> None:
        buried = frozenset(self._standing)
        if not orders and not buried:
            return
        targets: list[tuple[int, PurgeTarget]] = [(order.serial, order) for order in orders]
        targets += [(_TOMBSTONE, PurgeTarget(package_id=package_id)) for package_id in buried]
        await self._unlink(Selection(targets), self._files)
        epoch = self._board.advance()
        while True:
            try:
                await self._board.acknowledged(epoch, _ACK_S)
                break
            except TimeoutError:
                logger().warning("purge_waits", why="a worker has not let go yet")
        self._standing -= buried
        files, self._files = self._files, Counter()
        logger().info("purged", orders=len(orders), tombstones=len(buried), files=files.total())
        if orders:
            await self._remember(orders, files)

    async def _remember(self, orders: Collection[PurgeOrder], files: Counter[int]) -> None:
        self.serial = max(order.serial for order in orders)
        self._orders = {serial: o for serial, o in self._orders.items() if serial > self.serial}
        self.latest.extend(Purged(serial=o.serial, files=files[o.serial]) for o in orders)
        try:
            await asyncio.to_thread(
                write_durably, self._path, json.dumps({"serial": self.serial}).encode()
            )
        except OSError as error:  # after a restart they are obeyed once more, which does no harm
            logger().warning("purged_serial_not_written", why=str(error))

    def _doom(self, chosen: Selection) -> None:
        problem = Problem("unavailable", "It is being purged.", retry_after_s=1)
        self._doomed.update(self._fills.give_up(chosen.takes, problem))

    async def _unlink(self, chosen: Selection, files: Counter[int]) -> None:
        """Nothing that was chosen is held, or still on its way; `files` has how many were, by
        serial. Raises OSError when a file cannot be unlinked, FolderOut when nobody can tell."""
        titles: dict[str, str | None] = {}
        batch: dict[str, int] = {}
        stuck = 0
        openings = self._cache.openings
        # What an earlier run held is not named before it is found; that takes seconds.
        while self._cache.finding:  # noqa: ASYNC110
            await asyncio.sleep(_FINDING_S)
        for number, key in enumerate(self._cache, 1):
            package_id, _, path = key.partition("/")
            if chosen.needs_titles and package_id not in titles:
                titles[package_id] = self._title_of(package_id)
            serial = chosen.serial_of(titles.get(package_id), package_id, path)
            if serial is not None:
                batch[key] = serial
            if len(batch) == _UNLINKED or number % _LOOKED_AT == 0:
                stuck += self._remove(batch, files)
                await asyncio.sleep(0)
        stuck += self._remove(batch, files)
        # Each is over within its source's time-out; one that lands at last is unlinked then.
        await asyncio.gather(*(fill.wait() for fill in self._doomed), return_exceptions=True)
        self._doomed = {fill for fill in self._doomed if not fill.ended}
        if self._cache.trouble or self._cache.openings != openings:
            raise FolderOut(self._cache.trouble or "a cache folder was out of service")
        if stuck:
            raise OSError(f"{stuck} files cannot be unlinked")

    def _remove(self, batch: dict[str, int], files: Counter[int]) -> int:
        """Returns how many are still held."""
        if not batch:  # each time, the workers look through all they have at hand
            return 0
        self._cache.remove(batch)
        gone = [serial for key, serial in batch.items() if key not in self._cache]
        files.update(gone)
        stuck = len(batch) - len(gone)
        batch.clear()
        return stuck

    def _title_of(self, package_id: str) -> str | None:
        try:
            raw = self._cache.path(f"{package_id}/{INVENTORY_NAME}").read_bytes()
            return Inventory.model_validate_json(raw).title_id
        except (OSError, ValueError):
            return None
