"""Artwork: the picture of each title, one that was given, or else the poster made of its film.

A given picture is an object of its own, `artwork/{title_id}/{sha256}-{nonce}.{kind}`, which the
title's row names. The nonce keeps apart those who give the same picture at the same time: none of
them deletes what another's row names.
"""

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from sqlalchemy import select

from control_plane.artwork_keys import ArtworkKeys, sha256_of_artwork
from control_plane.catalog import View, live_title
from control_plane.clock import Clock
from control_plane.database import Database
from control_plane.pictures import MAX_BYTES, picture_of
from control_plane.tables import PackageRow, TitleRow
from media.inventory import CONTENT_TYPES, POSTER, package_prefix, sha256_of
from media.objects import ObjectStore, StoreUnavailable
from runtime.errors import Problem
from runtime.log import logger

# A poster has some 100 KB: those of the first pages of a catalog.
REMEMBERED_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Shown:
    """A picture as it is sent. `sha256` is that of its bytes."""

    data: bytes
    sha256: str
    content_type: str


@dataclass(frozen=True)
class _Stored:
    """Where a picture lies; its kind is the ending of the key."""

    key: str
    sha256: str

    @property
    def content_type(self) -> str:
        return CONTENT_TYPES[self.key.rpartition(".")[2]]


class Artworks:
    """The pictures of all titles. What was read is remembered by its SHA-256."""

    def __init__(
        self, database: Database, store: ObjectStore, keys: ArtworkKeys, clock: Clock
    ) -> None:
        self._database = database
        self._store = store
        self._keys = keys
        self._clock = clock
        self._read: OrderedDict[str, bytes] = OrderedDict()
        self._read_bytes = 0
        self._reading: dict[str, asyncio.Task[bytes]] = {}

    async def of(self, title_id: str, view: View) -> Shown:
        """The title's picture. Raises Problem `unknown_title` for one that is not in the view, and
        `unknown_artwork`."""
        wanted = (
            select(TitleRow, PackageRow)
            .outerjoin(PackageRow, PackageRow.package_id == TitleRow.package_id)
            .where(TitleRow.title_id == title_id, view.shows())
        )
        async with self._database.reading() as session:
            found = (await session.execute(wanted)).one_or_none()
        if found is None:
            raise Problem("unknown_title")
        stored = _stored(*found)
        return Shown(await self._bytes(stored), stored.sha256, stored.content_type)

    async def at(self, title_id: str, sha256: str, key: str) -> Shown:
        """The picture of an address that `ArtworkKeys` made. Raises Problem `token_invalid` for a
        key of no address, before anything is looked up, `unknown_title` when those whom it was
        made for do not see the title any more, and `unknown_artwork` when it has another by now."""
        drafts = self._keys.shows_drafts(title_id, sha256, key)
        if drafts is None:
            raise Problem("token_invalid")
        shown = await self.of(title_id, View(self._clock(), drafts=drafts))
        if shown.sha256 != sha256:
            raise Problem("unknown_artwork")
        return shown

    async def give(self, title_id: str, raw: bytes) -> None:
        """The title has this picture. Raises Problem `unknown_title`, `bad_artwork`,
        `body_too_large`."""
        picture = await asyncio.to_thread(picture_of, raw)
        async with self._database.reading() as session:
            await live_title(session, title_id)
        name = f"{sha256_of(raw)}-{secrets.token_hex(4)}.{picture.kind}"
        await self._store.put_bytes(_key(title_id, name), raw)
        try:
            await self._set(title_id, name)
        except Problem:
            await self._drop(title_id, name)  # it was deleted meanwhile
            raise

    async def remove(self, title_id: str) -> None:
        """The title has the film's own again. Raises Problem `unknown_title`."""
        await self._set(title_id, "")

    async def _set(self, title_id: str, name: str) -> None:
        async with self._database.writing() as session:
            row = await live_title(session, title_id, lock=True)
            before, row.artwork = row.artwork, name
        if before:
            await self._drop(title_id, before)

    async def _drop(self, title_id: str, name: str) -> None:
        """The object is gone; if the store is away, it goes with the title."""
        try:
            await self._store.delete(_key(title_id, name))
        except StoreUnavailable as error:
            logger().warning("artwork_left_behind", title_id=title_id, why=str(error))

    async def _bytes(self, stored: _Stored) -> bytes:
        known = self._read.get(stored.sha256)
        if known is not None:
            self._read.move_to_end(stored.sha256)
            return known
        # One asks the store for all who wait: they are many when a page is new.
        reading = self._reading.get(stored.sha256)
        if reading is None:
            reading = asyncio.create_task(self._fetch(stored), name="read-artwork")
            self._reading[stored.sha256] = reading
            reading.add_done_callback(lambda task: self._done(stored.sha256, task))
        return await asyncio.shield(reading)

    def _done(self, sha256: str, task: asyncio.Task[bytes]) -> None:
        del self._reading[sha256]
        # Nobody may wait any more: then nobody is told how it failed, and the next one tries.
        if task.cancelled() or task.exception() is not None:
            return
        self._read[sha256] = task.result()
        self._read_bytes += len(task.result())
        while self._read_bytes > REMEMBERED_BYTES:
            self._read_bytes -= len(self._read.popitem(last=False)[1])

    async def _fetch(self, stored: _Stored) -> bytes:
        try:
            data = await self._store.get_bytes(stored.key, max_bytes=MAX_BYTES)
        except (FileNotFoundError, ValueError):
            data = b""
        if sha256_of(data) != stored.sha256:
            logger().warning("artwork_differs", key=stored.key)
            raise Problem("unknown_artwork")
        return data


def artwork_prefix(title_id: str) -> str:
    """The key prefix of a title's given pictures, with its last slash."""
    return f"artwork/{title_id}/"


def _key(title_id: str, name: str) -> str:
    return artwork_prefix(title_id) + name


def _stored(row: TitleRow, package: PackageRow | None) -> _Stored:
    """Where the title's picture is. Raises Problem `unknown_artwork`."""
    sha256 = sha256_of_artwork(row, package)
    if row.artwork:
        return _Stored(_key(row.title_id, row.artwork), sha256)
    if not sha256 or package is None:
        raise Problem("unknown_artwork")
    return _Stored(package_prefix(row.title_id, package.package_id) + POSTER, sha256)
