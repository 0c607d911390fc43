"""The pull loop, against a small server that speaks the lease API."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from encoder.control import Control
from encoder.farm import Here
from encoder.settings import EncoderSettings
from encoder.worker import Worker
from encoder.workplace import workplace
from media.api import (
    Job,
    JobComplete,
    JobFailed,
    JobHandedBack,
    JobHeartbeat,
    Lease,
    LeaseOffer,
    Progress,
    Request,
)
from media.file_store import FileStore
from media.ids import new_id
from media.inventory import Package, package_prefix
from media.objects import ProgressFn, StoreUnavailable
from runtime.api import Call, Route, make_app
from runtime.client import Client
from runtime.errors import Problem
from runtime.service import serve_http
from tests.encoder_films import make_film

MASTER_KEY = "masters/ttl/film.mp4"


class LeaseQuery(Request):
    wait: float = 0.0


@dataclass
class ControlPlane:
    """Hands out `offers`, and writes down what it is told. `refusals` are answered first."""

    offers: list[Lease] = field(default_factory=list)
    refusals: dict[str, list[str]] = field(default_factory=dict)
    beats: list[Progress] = field(default_factory=list)
    completed: list[JobComplete] = field(default_factory=list)
    failed: list[JobFailed] = field(default_factory=list)
    handed_back: list[JobHandedBack] = field(default_factory=list)
    encoding: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    asked_again: asyncio.Event = field(default_factory=asyncio.Event)

    def routes(self) -> list[Route]:
        path = "/v1/jobs/{job_id}/"
        return [
            Route("POST", "/v1/jobs/lease", self.lease, "", LeaseOffer, query=LeaseQuery),
            Route("POST", path + "heartbeat", self.heartbeat, "", Job, JobHeartbeat),
            Route("POST", path + "complete", self.complete, "", Job, JobComplete),
            Route("POST", path + "fail", self.fail, "", Job, JobFailed),
            Route("POST", path + "hand-back", self.hand_back, "", Job, JobHandedBack),
        ]

    async def lease(self, call: Call) -> LeaseOffer:
        self._refuse("lease")
        if self.offers:
            return LeaseOffer(lease=self.offers.pop(0))
        self.asked_again.set()
        await asyncio.sleep(0.05)
        return LeaseOffer(lease=None)

    async def heartbeat(self, call: Call) -> Job:
        self._refuse("heartbeat")
        progress = call.body(JobHeartbeat).progress
        self.beats.append(progress)
        if progress.stage == "encode":
            self.encoding.set()
        return job(call)

    async def complete(self, call: Call) -> Job:
        self._refuse("complete")
        self.completed.append(call.body(JobComplete))
        self.ended.set()
        return job(call)

    async def fail(self, call: Call) -> Job:
        self._refuse("fail")
        self.failed.append(call.body(JobFailed))
        self.ended.set()
        return job(call)

    async def hand_back(self, call: Call) -> Job:
        self.handed_back.append(call.body(JobHandedBack))
        return job(call)

    def _refuse(self, verb: str) -> None:
        waiting = self.refusals.get(verb)
        if waiting:
            raise Problem(waiting.pop(0))


def job(call: Call) -> Job:
    return Job(
        job_id=call.path["job_id"],
        title_id=new_id("ttl"),
        state="running",
        progress=Progress(),
        attempt=1,
        created_at=datetime.now(UTC),
    )


@dataclass
class House:
    """A control plane, a store with a master, and a worker."""

    control: ControlPlane
    store: FileStore
    folder: Path
    url: str
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, master: Path, **more: str) -> Lease:
        """A job for this master."""
        target = self.store.root / MASTER_KEY
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(master.read_bytes())
        fields = {"master_sha256": hashlib.sha256(master.read_bytes()).hexdigest()} | more
        lease = Lease(
            job_id=new_id("job"),
            attempt=1,
            title_id=new_id("ttl"),
            package_id=new_id("pkg"),
            master_key=MASTER_KEY,
            expires_at=datetime.now(UTC) + timedelta(seconds=30),
            **fields,
        )
        self.control.offers.append(lease)
        return lease

    async def work_until(self, event: asyncio.Event, **settings: object) -> None:
        """The worker works until the event, and is then stopped."""
        chosen = EncoderSettings.model_validate(
            {"preset": "ultrafast", "heartbeat_s": 0.05, "wait_s": 0.1} | settings
        )
        async with Client(self.url) as client:
            with workplace(self.folder) as folder:
                worker = Worker(Control(client), self.store, Here(), folder, chosen)
                working = asyncio.create_task(worker.run(self.stopping))
                async with asyncio.timeout(20):
                    await event.wait()
                self.stopping.set()
                async with asyncio.timeout(5):
                    await working

    async def published(self) -> list[str]:
        return [info.key async for info in self.store.list_objects("titles/")]

    def left(self) -> list[str]:
        return [path.name for path in self.folder.iterdir() if path.name != ".lock"]


def children() -> list[str]:
    """Programs that we started and that still run."""
    tasks = Path("/proc/self/task").glob("*/children")
    return [pid for task in tasks for pid in task.read_text().split()]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    control = ControlPlane()
    runner, url = await serve_http(make_app(control.routes()), "127.0.0.1:0")
    yield House(control, FileStore(tmp_path / "store"), tmp_path / "work", url)
    await runner.cleanup()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("worker") / "film.mp4", seconds=1)


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose encode takes seconds: it is always under way when something happens to it."""
    folder = tmp_path_factory.mktemp("worker")
    return make_film(folder / "film.mp4", seconds=10, size="1280x720")


async def test_a_job_is_done(house: House, film: Path) -> None:
    lease = house.offer(film)
    await house.work_until(house.control.ended)
    (word,) = house.control.completed
    prefix = package_prefix(lease.title_id, lease.package_id)
    raw = await house.store.get_bytes(prefix + "inventory.json", max_bytes=1 << 20)
    inventory = Package.parse(raw, word.inventory_sha256).inventory
    assert (inventory.title_id, inventory.package_id) == (lease.title_id, lease.package_id)
    fractions = [progress.fraction for progress in house.control.beats]
    assert fractions == sorted(fractions)
    assert not house.control.failed
    assert house.left() == []


async def test_a_bad_film_fails_with_its_code_and_the_loop_goes_on(
    house: House, film: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("no film at all")
    house.offer(bad)
    await house.work_until(house.control.asked_again)
    (word,) = house.control.failed
    assert (word.code, word.retry) == ("not_a_video", False)
    assert word.message
    assert await house.published() == []
    assert house.left() == []


async def test_a_master_that_is_not_the_one_announced(house: House, film: Path) -> None:
    house.offer(film, master_sha256="0" * 64)
    await house.work_until(house.control.ended)
    assert [(word.code, word.retry) for word in house.control.failed] == [("parts_differ", False)]


async def test_a_master_that_is_gone(house: House, film: Path) -> None:
    house.offer(film)
    await house.store.delete(MASTER_KEY)
    await house.work_until(house.control.ended)
    assert [(word.code, word.retry) for word in house.control.failed] == [("not_found", False)]


async def test_a_disk_without_room_is_worth_another_try(house: House, film: Path) -> None:
    house.offer(film)
    await house.work_until(house.control.ended, spare_bytes=1 << 60)
    assert [(word.code, word.retry) for word in house.control.failed] == [("disk_full", True)]
    assert house.left() == []


async def test_a_lost_lease_ends_the_work(house: House, long_film: Path) -> None:
    before = children()
    house.offer(long_film)
    house.control.refusals["heartbeat"] = ["unavailable", "lease_lost"]
    await house.work_until(house.control.asked_again)
    assert not house.control.completed and not house.control.failed
    assert await house.published() == []
    assert house.left() == []
    assert children() == before


async def test_a_stopped_encoder_hands_its_job_back(house: House, long_film: Path) -> None:
    before = children()
    house.offer(long_film)
    await house.work_until(house.control.encoding)
    assert [word.attempt for word in house.control.handed_back] == [1]
    assert not house.control.failed
    assert await house.published() == []
    assert house.left() == []
    assert children() == before


async def test_a_message_is_plain_text(house: House) -> None:
    """ffmpeg quotes the film's own bytes."""
    lease = Lease.model_validate(
        {"job_id": new_id("job"), "attempt": 1, "title_id": new_id("ttl"),
         "package_id": new_id("pkg"), "master_key": "m", "master_sha256": None,
         "expires_at": datetime.now(UTC)}
    )  # fmt: skip
    async with Client(house.url) as client:
        problem = Problem("encode_failed", "tag\0 \x1b[31mred\nline")
        await Control(client).fail(lease, problem, retry=False)
    assert house.control.failed[0].message == "tag   [31mred line"


async def test_a_control_plane_that_is_away_now_and_then(house: House, film: Path) -> None:
    house.offer(film)
    house.control.refusals = {
        "lease": ["internal", "unavailable"],
        "heartbeat": ["unavailable"] * 3,
        "complete": ["unavailable", "internal"],
    }
    await house.work_until(house.control.ended)
    assert len(house.control.completed) == 1
    assert not any(house.control.refusals.values())


async def test_a_package_that_stands_already_is_only_told(house: House, film: Path) -> None:
    lease = house.offer(film)
    key = package_prefix(lease.title_id, lease.package_id) + "inventory.json"
    await house.store.put_bytes(key, b"{}")
    await house.store.delete(MASTER_KEY)
    await house.work_until(house.control.ended)
    (word,) = house.control.completed
    assert word.inventory_sha256 == hashlib.sha256(b"{}").hexdigest()


class Away(FileStore):
    """A store that takes no packages."""

    async def put_file(
        self, key: str, path: Path, *, create_only: bool = False, progress: ProgressFn | None = None
    ) -> None:
        raise StoreUnavailable("time-out")


async def test_a_store_that_is_away_is_worth_another_try(house: House, film: Path) -> None:
    house.offer(film)
    house.store = Away(house.store.root)
    await house.work_until(house.control.ended)
    (word,) = house.control.failed
    assert (word.code, word.retry) == ("store_unavailable", True)
    assert house.left() == []


def test_what_a_killed_encoder_left_is_gone_and_one_works_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / ".nearcast-abc").mkdir()
    (tmp_path / ".nearcast-abc/upload").write_bytes(b"half a film")
    with workplace(tmp_path) as folder:
        assert [path.name for path in folder.iterdir()] == [".lock"]
        with pytest.raises(Problem) as refused, workplace(tmp_path):
            pass
        assert refused.value.code == "data_in_use"
