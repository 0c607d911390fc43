"""Packages as the store has them: inventories checked, and remembered with their MPD."""

import json
from collections import OrderedDict
from dataclasses import dataclass

from pydantic import ValidationError

from media.fleet import RenditionRef
from media.inventory import (
    INVENTORY_NAME,
    MAX_INVENTORY_BYTES,
    Inventory,
    package_prefix,
    sha256_of,
)
from media.objects import ObjectStore
from runtime.errors import Problem

MPD_NAME = "dash/manifest.mpd"
MAX_MPD_BYTES = 8 * 1024 * 1024
# A feature film's inventory and MPD take about 200 KB in memory; the limits above allow more.
REMEMBERED = 64


@dataclass(frozen=True)
class Manifests:
    """What session manifests are made from."""

    inventory: Inventory
    mpd: str


class Packages:
    """Reads packages that were published, the latest REMEMBERED of them from memory: a package
    never changes, so what was read once stays right."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._read: OrderedDict[str, Manifests] = OrderedDict()

    async def get(self, title_id: str, package_id: str, sha256: str) -> Manifests:
        """Inventory and MPD of a package. Raises Problem `not_in_package` when they are gone."""
        known = self._read.get(package_id)
        if known is None:
            known = await self._fetch(title_id, package_id, sha256)
            self._read[package_id] = known
            if len(self._read) > REMEMBERED:
                self._read.popitem(last=False)
        self._read.move_to_end(package_id)
        return known

    async def _fetch(self, title_id: str, package_id: str, sha256: str) -> Manifests:
        inventory = await read_inventory(self._store, title_id, package_id, sha256)
        entry = next((entry for entry in inventory.files if entry.path == MPD_NAME), None)
        if entry is None:
            raise Problem("not_in_package", "The package has no MPD.")
        raw = await _read(
            self._store, package_prefix(title_id, package_id) + MPD_NAME, MAX_MPD_BYTES
        )
        if sha256_of(raw) != entry.sha256:
            raise Problem("not_in_package", "The package's MPD is not the one of its inventory.")
        return Manifests(inventory, raw.decode())


def dumped(inventory: Inventory) -> str:
    """The bytes of its renditions, as the database has them."""
    return json.dumps(
        {r.rendition_id: r.total_bytes + r.file_list.bytes for r in inventory.renditions}
    )


def renditions_of(text: str) -> tuple[RenditionRef, ...]:
    """The renditions of what `dumped` has written; none of an empty text."""
    listed = json.loads(text) if text else {}
    return tuple(RenditionRef(rendition_id=name, bytes=size) for name, size in listed.items())


async def read_inventory(
    store: ObjectStore, title_id: str, package_id: str, sha256: str
) -> Inventory:
    """The inventory in the store. Raises Problem `not_in_package` when there is none, and
    `invalid_field` when its digest or its ids are others."""
    key = package_prefix(title_id, package_id) + INVENTORY_NAME
    raw = await _read(store, key, MAX_INVENTORY_BYTES)
    if sha256_of(raw) != sha256:
        raise Problem("invalid_field", "inventory_sha256: the inventory in the store has another.")
    try:
        inventory = Inventory.model_validate_json(raw)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise Problem("invalid_field", f"The inventory is not valid: {detail}.") from None
    if (inventory.title_id, inventory.package_id) != (title_id, package_id):
        raise Problem("invalid_field", "The inventory is that of another package.")
    return inventory


async def _read(store: ObjectStore, key: str, max_bytes: int) -> bytes:
    try:
        return await store.get_bytes(key, max_bytes=max_bytes)
    except FileNotFoundError:
        raise Problem("not_in_package", f"The store has no {key}.") from None
    except ValueError as error:
        raise Problem("invalid_field", f"{error}.") from None
