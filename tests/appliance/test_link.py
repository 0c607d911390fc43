"""The line between worker and keeper, when one of them does not listen."""

import asyncio
import json
import os
import socket
from pathlib import Path

from appliance.home import Asker
from appliance.link import MAX_LINE_BYTES, Arrival, KeeperLink, Line, reachable
from appliance.load import WorkerLoad
from appliance.open_file import OpenFile
from appliance.tally import TALLY_WORDS
from appliance.want import FileWant
from tests.appliance.inside import inside


async def test_a_keeper_that_hangs_is_told_less(tmp_path: Path) -> None:
    hang, accepted = asyncio.Event(), asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await hang.wait()
        writer.close()

    path = tmp_path / "deaf"
    with reachable(path) as short:
        server = await asyncio.start_unix_server(deaf, short, limit=MAX_LINE_BYTES)
    async with server:
        link = KeeperLink(path, WorkerLoad([0] * TALLY_WORDS, 0.0, 0.25), OpenFile)
        running = asyncio.create_task(link.run(lambda: None))
        await accepted.wait()
        await asyncio.sleep(0)
        for _ in range(200):
            link.touch([f"pkg_x/v-avc-720/{number}.m4s" for number in range(1000)])
        assert link._line is not None and link._line.is_behind
        assert link._line._said_bytes < 2_000_000
        await asyncio.sleep(0)
        assert link._line._writer.transport.get_write_buffer_size() < 2_000_000
        running.cancel()
        hang.set()
        await asyncio.gather(running, return_exceptions=True)


def test_who_was_sent_away_hears_no_more(tmp_path: Path) -> None:
    """What one waiter does may end another's answer: it must not be called for it any more."""
    arrival = Arrival(FileWant("t", "p", "", "a", "", 1, 1), False, OpenFile)
    heard = []

    def first() -> None:
        heard.append("first")
        del arrival.watchers[second]

    def second() -> None:
        heard.append("second")

    arrival.watchers |= {first: None, second: None}
    (tmp_path / "a").write_bytes(b"x")
    arrival.take(json.loads(json.dumps({"held": os.fspath(tmp_path / "a")})))
    assert heard == ["first"] and arrival.held


async def test_words_of_one_turn_leave_together(tmp_path: Path) -> None:
    left, right = socket.socketpair()
    reader, _ = await asyncio.open_connection(sock=right)
    _, writer = await asyncio.open_connection(sock=left)
    writes: list[bytes] = []
    line = Line(writer)
    writer.write = writes.append  # type: ignore[method-assign, assignment]
    for number in range(3):
        line.say({"n": number})
    await asyncio.sleep(0)
    line.say({"n": 3})
    await asyncio.sleep(0)
    assert writes == [b'{"n": 0}\n{"n": 1}\n{"n": 2}\n', b'{"n": 3}\n']
    line.say({"n": 4})
    line.close()
    await asyncio.sleep(0)
    assert len(writes) == 2  # who has gone is told nothing
    assert await reader.read() == b""


async def test_a_line_that_has_broken_breaks_nothing_else(tmp_path: Path) -> None:
    """uvloop raises for a write to who has gone: neither the worker nor the fill may end of it."""
    async with inside(tmp_path, {"1.m4s": 2_000_000}) as house, house.client() as (reader, writer):
        house.let("1.m4s", 1_000_000)
        writer.write(house.head("1.m4s"))
        await reader.readexactly(500_000)
        (fill,) = house.fills._flights.values()
        link = house.worker.link
        assert link._line is not None
        link._line._writer.transport.abort()
        link.touch(["pkg_x/v-avc-720/1.m4s"])
        assert link.need(fill.want._replace(package_id="pkg_y"), False).failed == "unavailable"
        house.let("1.m4s", 2_000_000)
        await fill.wait()
        assert fill.held


async def test_a_miss_carries_what_was_used_before_it(tmp_path: Path) -> None:
    """The keeper hears of it first, so that what leaves for the file is chosen by it."""
    heard: asyncio.Queue[dict[str, object]] = asyncio.Queue()

    async def keeper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            heard.put_nowait(json.loads(line))
        writer.close()

    used = ["p/v/1.m4s", "p/v/2.m4s"]

    def taken() -> list[str]:
        told = used.copy()
        used.clear()
        return told

    path, connected = tmp_path / "keeper", asyncio.Event()
    with reachable(path) as short:
        server = await asyncio.start_unix_server(keeper, short, limit=MAX_LINE_BYTES)
    async with server:
        load = WorkerLoad([0] * TALLY_WORDS, 0.0, 0.25)
        link = KeeperLink(path, load, OpenFile, used=taken)
        running = asyncio.create_task(link.run(connected.set))
        await connected.wait()
        link.need(FileWant("t", "p", "", "v/3.m4s", "", 1, 1), Asker.OURS)
        assert (await heard.get())["touch"] == ["p/v/1.m4s", "p/v/2.m4s"]
        assert (await heard.get())["need"] == 1
        link.need(FileWant("t", "p", "", "v/4.m4s", "", 1, 1), Asker.OURS)
        assert (await heard.get())["need"] == 2
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
