"""Pieces survive: what is done is not done again, whoever is killed meanwhile."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from encoder.chunks import Chunk
from encoder.farm import Farm, Here, Order
from encoder.package import Encoded
from encoder.pieces import Kept, Piece
from encoder.pipeline import Workshop, encode
from encoder.recipe import AudioOutput
from encoder.settings import EncoderSettings
from lab.peers.process import free_port
from media.api import Progress
from media.file_store import FileStore
from media.ladder import Ladder, Rung
from media.s3 import S3Store
from runtime.errors import Problem
from tests.encoder_films import make_film
from tests.swift import ACCESS_KEY, SECRET_KEY, running_swift

LADDER = Ladder(
    rungs=(Rung(height=90, max_bps=200_000), Rung(height=180, max_bps=600_000)),
    gop_s=0.5,
    segment_gops=1,
)
SETTINGS = EncoderSettings(preset="ultrafast", chunk_s=1.0)
PACKAGE_ID = "pkg_01j00000000000000000000000"
TITLE_ID = "ttl_01j00000000000000000000000"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("farm") / "film.mkv", seconds=6, size="320x180")


class Counting:
    """A farm that writes down what it is asked for."""

    def __init__(self, farm: Farm, stop_after: int | None = None) -> None:
        self.farm, self.far = farm, farm.far
        self.asked: list[Piece] = []
        self.done: set[str] = set()
        self.stop_after = stop_after

    async def fill(self, order: Order) -> None:
        self.asked += order.pieces

        def hear(piece: Piece, frames: int) -> None:
            order.on_frames(piece, frames)
            if frames == piece.frames:
                self.done.add(piece.key)
            if self.stop_after is not None and len(self.done) >= self.stop_after:
                raise ConnectionError("the plug is pulled")

        await self.farm.fill(replace(order, on_frames=hear))


async def made(film: Path, out: Path, store: FileStore, farm: Farm, **more: object) -> Encoded:
    return await encode(
        film,
        out,
        TITLE_ID,
        PACKAGE_ID,
        SETTINGS,
        ladder=LADDER,
        workshop=Workshop(farm, Kept(store, PACKAGE_ID), str(film) if farm.far else None),
        **more,  # type: ignore[arg-type]
    )


async def test_chunks_are_one_film(film: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    farm = Counting(Here())
    one = await made(film, tmp_path / "a", FileStore(tmp_path / "s"), farm, on_progress=told.append)
    chunks = [piece.part for piece in farm.asked if isinstance(piece.part, Chunk)]
    sound = [piece.part for piece in farm.asked if isinstance(piece.part, AudioOutput)]
    assert len(chunks) == 6 and len(sound) == 1
    assert [r.frames for r in one.inventory.renditions if r.kind == "video"] == [144, 144]
    assert (told[-1].stage, max(p.chunks_done or 0 for p in told)) == ("package", 6)
    assert [p.fraction for p in told] == sorted(p.fraction for p in told)


async def test_a_kill_costs_what_was_in_flight(film: Path, tmp_path: Path) -> None:
    store = FileStore(tmp_path / "s")
    first = Counting(Here(at_once=1), stop_after=4)
    with pytest.raises(ConnectionError):
        await made(film, tmp_path / "a", store, first)
    assert not (tmp_path / "a").exists()
    second = Counting(Here())
    await made(film, tmp_path / "a", store, second)
    assert len(first.asked) == 7 and len(first.done) == 4
    assert {p.key for p in second.asked} == {p.key for p in first.asked} - first.done
    third = Counting(Here())
    await made(film, tmp_path / "b", store, third)
    assert third.asked == []


async def test_other_settings_are_other_pieces(film: Path, tmp_path: Path) -> None:
    store = FileStore(tmp_path / "s")
    farm = Counting(Here())
    await made(film, tmp_path / "a", store, farm)
    keys = {piece.key for piece in farm.asked}
    assert len(keys) == 7
    piece = farm.asked[-1]
    others = [
        replace(piece, master_sha256="0" * 64),
        replace(piece, preset="fast"),
        replace(piece, tool="ffmpeg version 1"),
        replace(piece, part=replace(piece.part, frames=23)),  # type: ignore[type-var]
        replace(piece, recipe=replace(piece.recipe, gop_frames=6)),
    ]
    assert not keys & {other.key for other in others}


async def test_a_damaged_piece_is_made_again(film: Path, tmp_path: Path) -> None:
    store = FileStore(tmp_path / "s")
    await made(film, tmp_path / "a", store, Here())
    files = sorted((tmp_path / "s" / "work" / PACKAGE_ID).glob("*/v-*.mp4"))
    data = bytearray(files[3].read_bytes())
    data[len(data) // 2] ^= 1
    files[3].write_bytes(data)
    files[-1].write_bytes(b"")  # and another is cut off
    farm = Counting(Here())
    await made(film, tmp_path / "b", store, farm)
    assert sorted(p.key for p in farm.asked) == sorted(
        {files[3].parent.name, files[-1].parent.name}
    )
    a, b = (tmp_path / name / "v-avc-90" / "1.m4s" for name in "ab")
    assert a.read_bytes() == b.read_bytes()


async def test_a_process_that_is_killed_goes_on_where_it_was(film: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[encoder]\nchunk_s = 0.5\nat_once = 1\n")
    argv = [sys.executable, "-m", "nearcast", "encode", str(film), "--out", str(tmp_path / "out")]
    (tmp_path / "l.toml").write_text(
        "gop_s = 0.5\nsegment_gops = 1\n[[rungs]]\nheight = 180\nmax_bps = 600_000\n"
    )
    argv += ["--ladder", str(tmp_path / "l.toml"), "--config", str(tmp_path / "c.toml"), "--json"]
    work = tmp_path / ".out.nearcast"
    process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.DEVNULL)
    await _until(lambda: len(list(work.glob("work/film/*/done.json"))) >= 3)
    process.kill()
    await process.wait()
    there = {path.parent.name: path.stat().st_mtime_ns for path in work.glob("work/*/*/done.json")}
    assert 3 <= len(there) < 13 and not (tmp_path / "out").exists()
    seen: dict[str, int] = {}
    again = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.DEVNULL)
    while again.returncode is None:
        for path in work.glob("work/film/*/done.json"):
            try:
                seen[path.parent.name] = path.stat().st_mtime_ns
            except FileNotFoundError:
                pass  # it is over
        try:
            async with asyncio.timeout(0.05):
                await again.wait()
        except TimeoutError:
            pass
    assert again.returncode == 0 and (tmp_path / "out" / "inventory.json").exists()
    assert not work.exists()
    assert {key: seen.get(key) for key in there} == there  # none of them was made again


# A real cluster.


@contextmanager
def scheduler(port: int) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    argv += ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show"]
    with _ended(argv) as process:
        yield process


@contextmanager
def worker(port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-m", "distributed.cli.dask_worker", f"tcp://127.0.0.1:{port}"]
    argv += ["--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard", "--no-nanny"]
    argv += ["--local-directory", str(folder), "--death-timeout", "60"]
    with _ended(argv) as process:
        yield process


@contextmanager
def _ended(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(argv, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@asynccontextmanager
async def encoding(
    film: Path, tmp_path: Path, port: int
) -> AsyncIterator[tuple[Counting, "asyncio.Task[Encoded]"]]:
    from encoder.dask_farm import DaskFarm

    farm = Counting(DaskFarm(f"tcp://127.0.0.1:{port}"))
    store = FileStore(tmp_path / "s")
    task = asyncio.create_task(made(film, tmp_path / "out", store, farm))
    try:
        yield farm, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_cluster_that_loses_its_worker_and_its_scheduler(
    film: Path, tmp_path: Path
) -> None:
    port = free_port()
    with scheduler(port) as first, worker(port, tmp_path) as one:
        async with encoding(film, tmp_path, port) as (farm, task):
            await _until(lambda: len(farm.done) >= 2 or task.done())
            os.killpg(one.pid, signal.SIGKILL)
            with worker(port, tmp_path):
                await _until(lambda: len(farm.done) >= 4 or task.done())
                os.killpg(first.pid, signal.SIGKILL)
                first.wait()
                with scheduler(port), worker(port, tmp_path):
                    result = await task
    assert len(farm.asked) == 7  # asked once; what the farm lost it was asked for inside
    assert [r.frames for r in result.inventory.renditions if r.kind == "video"] == [144, 144]


async def test_workers_read_of_the_master_what_they_need(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a real S3 server, by its address."""
    from encoder.dask_farm import DaskFarm

    with running_swift(tmp_path / "swift") as swift:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        store = S3Store("films", swift.endpoint)
        await store.create_bucket()
        await store.put_file("masters/film.mkv", film)
        port = free_port()
        with scheduler(port), worker(port, tmp_path):
            address = await store.address("masters/film.mkv", 60)
            assert address.startswith(swift.endpoint)
            shop = Workshop(DaskFarm(f"tcp://127.0.0.1:{port}"), Kept(store, PACKAGE_ID), address)
            one = await encode(
                film, tmp_path / "out", TITLE_ID, PACKAGE_ID, SETTINGS, ladder=LADDER, workshop=shop
            )
        kept = [found.key async for found in store.list_objects(f"work/{PACKAGE_ID}/")]
        assert len([key for key in kept if key.endswith("/done.json")]) == 7
        await shop.kept.clear()
        assert [found async for found in store.list_objects("work/")] == []
        await store.close()
    assert [r.frames for r in one.inventory.renditions if r.kind == "video"] == [144, 144]


async def test_a_cluster_tells_what_is_wrong_with_a_film(film: Path, tmp_path: Path) -> None:
    port = free_port()
    bad = tmp_path / "bad.mkv"
    data = bytearray(film.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = os.urandom(2000)
    bad.write_bytes(data)
    with scheduler(port), worker(port, tmp_path):
        async with encoding(bad, tmp_path, port) as (_, task):
            with pytest.raises(Problem) as failed:
                await task
    assert failed.value.code == "truncated_file"


async def _until(true: Callable[[], bool], timeout_s: float = 40.0) -> None:
    until = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < until
        await asyncio.sleep(0.02)
