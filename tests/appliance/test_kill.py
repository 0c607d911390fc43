"""`kill -9` of a worker or the keeper at any moment, under load."""

import asyncio
import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.appliance.churn import BUDGET_BYTES, SIZES, Churn
from tests.appliance.conftest import Standing, children_of
from tests.packages import make_keys, make_package

KILLS = int(os.environ.get("NEARCAST_KILLS", "4"))
BACK_S = 2.0


@pytest.mark.timeout(60 + 5 * KILLS)
async def test_killed_at_any_moment_it_lies_to_nobody(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    standing = Standing(tmp_path, make_keys(tmp_path, "north-1"))
    standing.settings = {"budget_bytes": str(BUDGET_BYTES), "workers": "2"}
    package = make_package(standing.store, SIZES)
    await standing.start()
    assert standing.daemon is not None and standing.daemon.pid is not None
    cache = tmp_path / "appliances" / "north-1" / "cache"
    seed = random.randrange(1 << 32)
    record_property("seed", seed)
    dice, churn = random.Random(seed), Churn(standing, package, seed)
    back_s: list[float] = []
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(churn.client()) for _ in range(12)]
        tasks.append(group.create_task(churn.watch_disk(cache)))
        await churn.back_within(20)
        for _ in range(KILLS):
            await asyncio.sleep(dice.random() * 0.5)
            with suppress(ProcessLookupError):
                os.kill(dice.choice(children_of(standing.daemon.pid)), signal.SIGKILL)
            back_s.append(await churn.back_within(30))
        for task in tasks:
            task.cancel()
    await standing.stop()
    record_property("kills", KILLS)
    record_property("right", churn.seen["right"])
    record_property("refused", churn.seen["refused"])
    record_property("broken", churn.seen["broken"])
    record_property("slowest_back_s", round(max(back_s), 2))
    record_property("most_on_disk_share", round(churn.most_on_disk / BUDGET_BYTES, 3))
    assert max(back_s) <= BACK_S
    assert churn.most_on_disk <= BUDGET_BYTES
    for path in cache.rglob("v-avc-720/*.m4s"):  # what has a name is whole
        assert path.read_bytes() == package.files["/".join(path.parts[-2:])]
