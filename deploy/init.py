"""Prepares a deployment: a key for each machine, the ring of public keys for all, the bucket.

    python deploy/init.py FOLDER

FOLDER has one folder per machine; each gets `secrets/` with its own key and the ring. Running it
again changes nothing but adds the machines that are new.
"""

import asyncio
import os
import sys
from pathlib import Path

from media.keys import Identity, Keyring, MachineRole
from media.objects import StoreUnavailable, open_store
from media.s3 import S3Store

ROLES: dict[str, MachineRole] = {
    "control": "control",
    "steering": "steering",
    "encoder": "encoder",
}
TRIES = 60


def make_keys(machines: Path) -> None:
    """Every folder below `machines` has its key and the ring."""
    names = sorted(folder.name for folder in machines.iterdir() if folder.is_dir())
    identities = [
        Identity.open(
            name, ROLES.get(name, "appliance"), machines / name / "secrets" / f"{name}.key"
        )
        for name in names
    ]
    ring = Keyring([identity.public for identity in identities])
    for name in names:
        ring.write(machines / name / "secrets" / "trust.json")
    print(f"keys of {', '.join(names)}")


async def make_bucket(url: str) -> None:
    """The bucket exists; waits for a store that is still starting."""
    store = open_store(url)
    if isinstance(store, S3Store):
        for attempt in range(TRIES):
            try:
                await store.create_bucket()
                break
            except StoreUnavailable:
                if attempt == TRIES - 1:
                    raise
                await asyncio.sleep(1)
    await store.close()
    print(f"store {url}")


if __name__ == "__main__":
    make_keys(Path(sys.argv[1]))
    asyncio.run(make_bucket(os.environ["NEARCAST_STORE"]))
