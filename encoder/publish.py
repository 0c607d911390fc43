"""A package goes into the object store, whole or not at all.

Files first, `inventory.json` last, all create-only: who finds an inventory finds every file that
it lists. On failure and on cancellation what was put is deleted again.

A package id belongs to one job, but a job may be tried more than once, and an encoder that was
thought dead may wake up. So an attempt clears away what an earlier one left, looks before the
inventory whether all files still stand, and deletes nothing once somebody's inventory does.
"""

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any

from encoder.package import Encoded
from encoder.progress import OnProgress, at
from encoder.unbroken import unbroken
from media.inventory import (
    INVENTORY_NAME,
    MAX_INVENTORY_BYTES,
    FileEntry,
    FileList,
    package_prefix,
    sha256_of,
    to_bytes,
)
from media.objects import ObjectStore, StoreUnavailable
from runtime.log import logger

# Small files in a store far away take longer to ask for than to send.
_AT_ONCE = 8
_TAKEN = "another attempt has written the same package"


async def standing(store: ObjectStore, title_id: str, package_id: str) -> str | None:
    """The SHA-256 of the package's inventory when it is published already, else None."""
    key = package_prefix(title_id, package_id) + INVENTORY_NAME
    try:
        return sha256_of(await store.get_bytes(key, max_bytes=MAX_INVENTORY_BYTES))
    except FileNotFoundError:
        return None


async def publish(made: Encoded, store: ObjectStore, on_progress: OnProgress) -> None:
    """The package stands in the store. Raises StoreUnavailable; nothing of it is left then."""
    prefix = package_prefix(made.inventory.title_id, made.inventory.package_id)
    inventory = prefix + INVENTORY_NAME
    if await _exists(store, inventory):
        raise StoreUnavailable(_TAKEN)
    await _delete(store, [info.key async for info in store.list_objects(prefix)])
    files = {prefix + entry.path: entry for entry in _entries(made)}
    begun: list[str] = []  # keys whose put began: it may have taken effect whatever it answered
    try:
        await _put_files(made, files, store, begun, on_progress)
        found = {info.key: info.bytes async for info in store.list_objects(prefix)}
        if found != {key: entry.bytes for key, entry in files.items()}:
            raise StoreUnavailable("the store does not keep the package as it was put")
        listed = store.put_bytes(inventory, to_bytes(made.inventory), create_only=True)
        await unbroken(_put(inventory, listed, begun))
    except BaseException:
        await unbroken(_undo(store, inventory, begun))
        raise


def _entries(made: Encoded) -> Iterator[FileEntry]:
    """Every file of the package but `inventory.json`."""
    for rendition in made.inventory.renditions:
        listed = (made.folder / rendition.file_list.path).read_bytes()
        yield from FileList.model_validate_json(listed).files
        yield rendition.file_list
    yield from made.inventory.files


async def _put_files(
    made: Encoded,
    files: Mapping[str, FileEntry],
    store: ObjectStore,
    begun: list[str],
    on_progress: OnProgress,
) -> None:
    """Every file stands, or all puts have ended and the first failure is raised."""
    waiting = iter(files.items())
    sent = 0

    async def send() -> None:
        nonlocal sent
        for key, entry in waiting:
            put = store.put_file(key, made.folder / entry.path, create_only=True)
            await unbroken(_put(key, put, begun))
            sent += entry.bytes
            on_progress(at("publish", sent / made.inventory.total_bytes))

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(_AT_ONCE):
                group.create_task(send(), name=f"publish-{number}")
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


async def _put(key: str, put: Coroutine[Any, Any, None], begun: list[str]) -> None:
    """The object is ours. What was there before is another's, and not ours to delete."""
    begun.append(key)
    try:
        await put
    except FileExistsError:
        begun.remove(key)
        raise StoreUnavailable(_TAKEN) from None


async def _undo(store: ObjectStore, inventory: str, begun: list[str]) -> None:
    """Nothing of this attempt is left, unless another's package stands here by now.

    A store that is away keeps what it has; without an inventory nobody sees it, and the next
    attempt clears it away.
    """
    try:
        if inventory in begun:
            await store.delete(inventory)  # first, so that it never lists what is gone
        elif await _exists(store, inventory):
            return
        await _delete(store, begun)
    except (StoreUnavailable, OSError) as error:
        logger().warning("unpublish_failed", inventory=inventory, error=str(error))


async def _exists(store: ObjectStore, key: str) -> bool:
    try:
        await store.stat(key)
    except FileNotFoundError:
        return False
    return True


async def _delete(store: ObjectStore, keys: list[str]) -> None:
    for first in range(0, len(keys), _AT_ONCE):
        await asyncio.gather(*(store.delete(key) for key in keys[first : first + _AT_ONCE]))
