"""Goes through the store, slowly and for ever, and takes out what nobody needs (see `orphans`).

A pass is a generator that stops after each page of a listing, so that the other chores wait for a
second at most, and a store of a million objects costs no memory. A pass that a store broke off goes
on where it was.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import func, select, update

from control_plane.clearing import delete_all
from control_plane.clock import Clock
from control_plane.database import Database
from control_plane.orphans import (
    Fate,
    Gap,
    Known,
    id_in,
    old,
    package_fate,
    title_fate,
    work_fate,
)
from control_plane.packages import read_inventory
from control_plane.tables import JobRow, PackageRow, RestoreRow, TitleRow, UserRow, from_ms
from media.inventory import (
    INVENTORY_NAME,
    MAX_FILE_LIST_BYTES,
    FileEntry,
    Inventory,
    file_list_of,
    package_prefix,
)
from media.objects import PAGE, ObjectInfo, ObjectStore, StoreUnavailable
from runtime.errors import Problem
from runtime.log import logger

EVERY = timedelta(hours=6)  # listings cost money, and an orphan is a day old anyway
AFTER_A_FAILURE = timedelta(minutes=1)
ROUND_S = 1.0
FOLDERS_AT_ONCE = 100  # that the database is asked about
DELETED_AT_ONCE = 100  # before the pass may rest
MAX_STRAYS = 10_000  # of a package in one pass
MAX_CLEAN = 100_000  # packages; 100 bytes or so each

T = TypeVar("T")
Steps = AsyncIterator[None]  # where it yields, a pass may rest


class Sweeper:
    """All that is in `masters/`, `work/` and `titles/`, and nothing else in the store."""

    def __init__(self, database: Database, store: ObjectStore, clock: Clock) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._pass: Steps | None = None
        self._next_at: datetime | None = None
        self._after: dict[str, str] = {}  # the last folder of each area that this pass is done with
        self._clean: set[str] = set()  # packages that have no file too many
        self._gaps: Sequence[Gap] = ()

    @property
    def resting(self) -> bool:
        """A pass is over, and the next one has not begun."""
        return self._pass is None

    async def sweep(self) -> None:
        """A pass is a little further. Raises StoreUnavailable: then it goes on in a minute."""
        now = self._clock()
        if self._pass is None:
            if self._next_at is not None and now < self._next_at:
                return
            self._next_at = now + EVERY
            self._pass = self._steps()
        loop = asyncio.get_running_loop()
        until_s = loop.time() + ROUND_S
        try:
            while loop.time() < until_s:
                await anext(self._pass)
        except StopAsyncIteration:
            self._pass = None
        except (Problem, StoreUnavailable):
            self._pass, self._next_at = None, now + AFTER_A_FAILURE
            raise

    async def _steps(self) -> Steps:
        async with self._database.reading() as session:
            born = await session.scalar(select(func.min(UserRow.created_at)))
            restores = (await session.scalars(select(RestoreRow))).all()
        gaps = [Gap(row.backup_at, row.restored_at) for row in restores]
        # Of what was made before there was a database: it was lost, perhaps, and nobody knows yet.
        self._gaps = [Gap(from_ms(0), born or self._clock()), *gaps]
        areas: dict[str, Callable[[list[str]], Steps]] = {
            "masters/": self._masters,
            "work/": self._work,
            "titles/": self._titles,
        }
        for area, look in areas.items():
            left = self._store.list_folders(area, self._after.get(area, ""))
            async for folders in _batches(left):
                async for _ in look(folders):
                    yield
                self._after[area] = folders[-1]
                yield
        self._after.clear()

    async def _masters(self, folders: list[str]) -> Steps:
        of = {title_id: folder for folder in folders if (title_id := id_in(folder, "ttl"))}
        there = select(TitleRow.title_id).where(TitleRow.title_id.in_(of))
        async with self._database.reading() as session:
            known = set(await session.scalars(there))
        for title_id, folder in of.items():
            if title_fate(title_id, title_id in known, self._gaps) is Fate.clear:
                async for _ in self._clear(folder):
                    yield

    async def _work(self, folders: list[str]) -> Steps:
        of = {package_id: folder for folder in folders if (package_id := id_in(folder, "pkg"))}
        known, _ = await self._known(list(of))
        for package_id, folder in of.items():
            fate = work_fate(package_id, known[package_id], self._gaps)
            async for _ in self._deal(folder, package_id, fate):
                yield

    async def _titles(self, folders: list[str]) -> Steps:
        for folder in folders:
            if id_in(folder, "ttl") is None:
                continue
            async for inner in _batches(self._store.list_folders(folder)):
                of = {package_id: one for one in inner if (package_id := id_in(one, "pkg"))}
                known, rows = await self._known([one for one in of if one not in self._clean])
                for package_id, facts in known.items():
                    row, fate = rows.get(package_id), package_fate(package_id, facts, self._gaps)
                    if fate is Fate.read and row is not None:
                        steps = self._read(row, of[package_id])
                    else:
                        steps = self._deal(of[package_id], package_id, fate)
                    async for _ in steps:
                        yield
            yield

    async def _known(self, ids: list[str]) -> tuple[dict[str, Known], dict[str, PackageRow]]:
        """What there is of these packages. The jobs first: one that is done had its package then,
        and if that is not there any more, it was cleared away."""
        jobs = select(JobRow.package_id, JobRow.state, JobRow.cleared_at)
        async with self._database.reading() as session:
            found = await session.execute(jobs.where(JobRow.package_id.in_(ids)))
            of = {package_id: Known(state, at is not None) for package_id, state, at in found}
            rows = await session.scalars(select(PackageRow).where(PackageRow.package_id.in_(ids)))
            stand = {row.package_id: row for row in rows}
        facts = {one: replace(of.get(one, Known()), stands=one in stand) for one in ids}
        return facts, stand

    async def _deal(self, folder: str, package_id: str, fate: Fate) -> Steps:
        if fate is Fate.clear:
            async for _ in self._clear(folder):
                yield
        elif fate is Fate.clear_job:
            async for _ in self._clear_job(folder, package_id):
                yield

    async def _clear(self, folder: str) -> Steps:
        """What is old in the folder is gone."""
        count = 0
        async for page in _batches(self._store.list_objects(folder), PAGE):
            gone = old(page, self._clock())
            async for _ in self._delete(gone):
                yield
            count += len(gone)
            yield
        if count:
            logger().info("orphans_removed", folder=folder, objects=count)

    async def _delete(self, gone: Sequence[ObjectInfo]) -> Steps:
        for start in range(0, len(gone), DELETED_AT_ONCE):
            some = gone[start : start + DELETED_AT_ONCE]
            await delete_all(self._store, [info.key for info in some])
            yield

    async def _clear_job(self, folder: str, package_id: str) -> Steps:
        """What came after the job was cleared away is seen to by whoever clears away after jobs: he
        knows when that may be done."""
        async for page in _batches(self._store.list_objects(folder), PAGE):
            if old(page, self._clock()):
                ended = JobRow.state.in_(("failed", "cancelled"))
                this = (JobRow.package_id == package_id) & ended
                async with self._database.writing() as session:
                    await session.execute(update(JobRow).where(this).values(cleared_at=None))
                return
            yield

    async def _read(self, row: PackageRow, folder: str) -> Steps:
        """The package has the files that its inventory names, and no old ones beside them; when it
        cannot be read whole, all its files."""
        if folder != package_prefix(row.title_id, row.package_id):
            return  # a package in another title's folder: nobody writes there, so nobody knows
        strays: list[ObjectInfo] = []
        try:
            inventory = await read_inventory(
                self._store, row.title_id, row.package_id, row.inventory_sha256
            )
            yield
            async for page in self._unlisted(inventory, folder):
                strays += page[: MAX_STRAYS - len(strays)]
                yield
        except (Problem, FileNotFoundError, ValueError) as error:
            logger().warning("package_in_doubt", package_id=row.package_id, why=str(error))
            return
        gone = old(strays, self._clock())
        if gone:
            async for _ in self._delete(gone):
                yield
            logger().info("orphans_removed", folder=folder, objects=len(gone))
        elif not strays:
            if len(self._clean) >= MAX_CLEAN:
                self._clean.clear()
            self._clean.add(row.package_id)

    async def _unlisted(self, inventory: Inventory, folder: str) -> AsyncIterator[list[ObjectInfo]]:
        """The objects in the package's folder that it does not list, page by page, perhaps empty
        ones. One file list is in memory at a time: keys come in their order. Raises ValueError or
        FileNotFoundError when not every file list can be read."""
        shared = {INVENTORY_NAME} | {entry.path for entry in inventory.files}
        shared |= {rendition.file_list.path for rendition in inventory.renditions}
        unread = {rendition.rendition_id: rendition.file_list for rendition in inventory.renditions}
        name, listed = "", frozenset[str]()
        async for page in _batches(self._store.list_objects(folder), PAGE):
            unlisted = []
            for info in page:
                path = info.key.removeprefix(folder)
                of = path.partition("/")[0]
                if of in unread:
                    name, listed = of, await self._listed(of, unread.pop(of), folder)
                if path not in shared and not (of == name and path in listed):
                    unlisted.append(info)
            yield unlisted
        if unread:
            raise ValueError(f"nothing is there of {', '.join(unread)}")

    async def _listed(self, rendition_id: str, entry: FileEntry, folder: str) -> frozenset[str]:
        raw = await self._store.get_bytes(folder + entry.path, max_bytes=MAX_FILE_LIST_BYTES)
        listed = await asyncio.to_thread(file_list_of, rendition_id, entry, raw)
        return frozenset(one.path for one in listed.files)


async def _batches(found: AsyncIterator[T], size: int = FOLDERS_AT_ONCE) -> AsyncIterator[list[T]]:
    """Lists of so many, the last one shorter."""
    batch: list[T] = []
    async for one in found:
        batch.append(one)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
