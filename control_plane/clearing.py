"""Takes objects out of the store, some at once."""

import asyncio
from collections.abc import Iterable
from itertools import islice

from media.objects import ObjectStore

AT_ONCE = 16


async def delete_all(store: ObjectStore, keys: Iterable[str]) -> None:
    """None of these objects is there any more. Raises StoreUnavailable."""
    left = iter(keys)
    while batch := list(islice(left, AT_ONCE)):
        await asyncio.gather(*(store.delete(key) for key in batch))


async def clear_folder(store: ObjectStore, folder: str) -> None:
    """Nothing is in the folder any more; its name ends with a slash. Raises StoreUnavailable."""
    found: list[str] = []
    async for info in store.list_objects(folder):
        found.append(info.key)
        if len(found) == AT_ONCE:
            await delete_all(store, found)
            found.clear()
    await delete_all(store, found)
