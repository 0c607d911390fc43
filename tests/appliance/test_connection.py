"""A connection under every interleaving: half-closed, pipelined, waiting, cut off."""

import asyncio
import errno
import json
import socket
import time
from pathlib import Path

import pytest

from appliance.board import Word
from appliance.exchange import Exchange
from appliance.gate import Gate
from appliance.http1 import Request
from appliance.open_file import OpenFile
from media.fleet import Notices, Purge
from tests.appliance.inside import answer, inside

SIZES = {"init.mp4": 0, "1.m4s": 1_000, "2.m4s": 2_000_000}


async def test_a_client_that_has_said_all_still_reads(tmp_path: Path) -> None:
    async with inside(tmp_path, SIZES) as house:
        for _ in ("cold", "hot"):
            async with house.client() as (reader, writer):
                writer.write(house.head("2.m4s") + house.head("1.m4s"))
                writer.write_eof()
                assert (await answer(reader))[2] == house.data("2.m4s")
                assert (await answer(reader))[2] == house.data("1.m4s")
                assert await reader.read() == b""


async def test_answers_come_in_order_and_nonsense_spoils_none(tmp_path: Path) -> None:
    async with inside(tmp_path, SIZES) as house, house.client() as (reader, writer):
        house.let("2.m4s", 0)
        writer.write(house.head("2.m4s") + house.head("1.m4s") * 300 + b"nonsense\r\n\r\n")
        await asyncio.sleep(0.05)
        house.let("2.m4s", 2_000_000)
        assert (await answer(reader))[2] == house.data("2.m4s")
        for _ in range(300):
            assert (await answer(reader))[2] == house.data("1.m4s")
        assert (await answer(reader))[0] == 400
        assert await reader.read() == b""


async def test_an_empty_file_is_answered_at_once(tmp_path: Path) -> None:
    """No bytes follow the head, so it must not wait for any (MSG_MORE: 200 ms)."""
    async with inside(tmp_path, SIZES) as house, house.client() as (reader, writer):
        writer.write(house.head("init.mp4"))
        assert (await answer(reader))[::2] == (200, b"")
        took_s = []
        for _ in range(10):  # a busy machine may be late for some of them
            began = time.monotonic()
            writer.write(house.head("init.mp4"))
            assert (await answer(reader))[::2] == (200, b"")
            took_s.append(time.monotonic() - began)
        assert min(took_s) < 0.1


async def test_a_hit_keeps_its_quick_way_when_there_is_much_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is then that it matters: the other way takes twice as long."""
    slow: list[bytes] = []

    class Told(Exchange):
        def decide(self, request: Request) -> None:
            slow.append(request.target)
            super().decide(request)

    monkeypatch.setattr("appliance.connection.Exchange", Told)
    async with inside(tmp_path, SIZES) as house, house.client() as (reader, writer):
        asked = house.head("1.m4s")
        for _ in range(2):
            writer.write(asked)
            assert (await answer(reader))[2] == house.data("1.m4s")
        assert slow
        for pressure in (0.0, 0.9, 1.1):
            house.board.pressure = pressure
            slow.clear()
            house.worker._tick()
            writer.write(asked)
            assert (await answer(reader))[2] == house.data("1.m4s") and not slow
        house.board.pressure = 1.3  # a session that has just begun is not served any more
        house.worker._tick()
        writer.write(asked)
        assert (await answer(reader))[0] == 503


async def test_a_range_is_for_get_and_whole_ones_are_partial(tmp_path: Path) -> None:
    async with inside(tmp_path, SIZES) as house:
        for headers in (("Range: bytes=5-9",), ("Range: bytes=9999-",)):
            cold = await house.fetch("1.m4s", *headers, method="HEAD")
            assert cold.startswith(b"HTTP/1.1 200") and b"Content-Length: 1000\r\n" in cold
        assert house.worker.row[Word.HITS] == 0
        whole = await house.fetch("1.m4s", "Range: bytes=0-")
        assert whole.startswith(b"HTTP/1.1 206") and b"bytes 0-999/1000" in whole


async def test_a_refused_client_may_finish_its_sentence(tmp_path: Path) -> None:
    """No reset overtakes the answer, though most of the body was not read (RFC 9112 9.6)."""
    async with inside(tmp_path, SIZES) as house, house.client() as (reader, writer):
        writer.write(house.head("1.m4s", "Content-Length: 300000", method="POST"))
        writer.write(bytes(300_000))
        status, fields, said = await answer(reader)
        assert (status, fields["connection"]) == (413, "close")
        assert await reader.read() == b""
    assert json.loads(said) == {
        "code": "body_too_large",
        "detail": "Requests with a body are not taken here.",
    }


async def test_slow_and_idle_clients_are_dropped(tmp_path: Path) -> None:
    async with inside(tmp_path, SIZES, request_timeout_s=0.3, idle_timeout_s=0.3) as house:
        async with house.client() as (reader, writer):
            closed = asyncio.create_task(reader.read())
            for byte in b"GET /slow-as-can-be HTTP/1.1":
                if not closed.done():
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.05)
            assert await closed == b""
        async with house.client() as (reader, writer):
            writer.write(house.head("1.m4s"))
            assert (await answer(reader))[0] == 200
            assert await reader.read() == b""
        async with asyncio.timeout(5):  # it waited for us to close, too
            while house.worker.row[Word.OPEN]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("behind", [b"x" * 50_000, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2000])
async def test_what_comes_behind_the_last_request_cuts_nothing_off(
    tmp_path: Path, behind: bytes
) -> None:
    """To close over unread bytes would reset the connection, and lose what had not left yet."""
    async with inside(tmp_path, SIZES) as house, house.client() as (reader, writer):
        writer.write(house.head("2.m4s", "Connection: close") + behind)
        await asyncio.sleep(0.2)  # the answer stands in the kernel
        assert (await answer(reader))[2] == house.data("2.m4s")
        assert await reader.read() == b""


async def test_a_fill_that_moves_is_waited_for(tmp_path: Path) -> None:
    async with inside(tmp_path, SIZES, send_stall_s=0.2) as house, house.client() as (r, w):
        house.let("2.m4s", 0)
        w.write(house.head("2.m4s", "Range: bytes=1999990-"))
        for landed in (100_000, 200_000, 300_000, 2_000_000):
            await asyncio.sleep(0.4)
            house.let("2.m4s", landed)
        status, _, body = await answer(r)
        assert (status, body) == (206, house.data("2.m4s")[-10:])


async def test_a_fill_that_does_not_move_is_refused_in_time(tmp_path: Path) -> None:
    async with inside(tmp_path, SIZES, send_stall_s=0.1) as house:
        house.let("1.m4s", 0)
        assert (await house.fetch("1.m4s")).startswith(b"HTTP/1.1 503")


async def test_pages_read_ahead_while_a_fill_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thread goes on where the answer stands: a second one would find the next answer."""
    cold, ready = [0, 0], OpenFile.ready

    def at_first_cold(file: OpenFile, offset: int, end: int, now: float) -> int:
        return cold.pop() if cold else ready(file, offset, end, now)

    monkeypatch.setattr(OpenFile, "ready", at_first_cold)
    read_ahead = OpenFile.read_ahead
    monkeypatch.setattr(OpenFile, "read_ahead", lambda *a: (time.sleep(0.3), read_ahead(*a)))
    async with inside(tmp_path, SIZES) as house, house.client() as (reader, writer):
        house.let("2.m4s", 300_000)
        house.let("1.m4s", 0)
        writer.write(house.head("2.m4s"))
        for landed in range(400_000, 2_000_001, 200_000):
            await asyncio.sleep(0.01)
            house.let("2.m4s", landed)
        assert (await answer(reader))[2] == house.data("2.m4s")
        writer.write(house.head("1.m4s"))
        await asyncio.sleep(0.3)
        house.let("1.m4s", 1_000)
        assert (await answer(reader))[2] == house.data("1.m4s")


async def test_a_purge_cuts_what_is_being_sent(tmp_path: Path) -> None:
    async with inside(tmp_path, SIZES) as house, house.client() as (reader, writer):
        house.let("2.m4s", 1_000_000)
        writer.write(house.head("2.m4s"))
        await reader.readexactly(500_000)
        async with house.client() as (waiting, other):
            house.let("1.m4s", 0)
            other.write(house.head("1.m4s"))
            await asyncio.sleep(0.05)
            tomb = Purge(package_id=house.package.package_id, until="2100-01-01T00:00:00Z")  # type: ignore[arg-type]
            house.write_notices(Notices(version=1, purges=(tomb,)))
            await house.board.acknowledged(house.board.advance(), 5)
            assert (await answer(waiting))[0] == 410
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1_500_000)


async def test_a_fault_of_ours_is_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    async with inside(tmp_path, SIZES) as house:
        monkeypatch.setattr(Gate, "decide", broken)
        assert (await house.fetch("1.m4s")).startswith(b"HTTP/1.1 500")


async def test_no_descriptor_left_is_no_busy_loop(tmp_path: Path) -> None:
    async with inside(tmp_path, SIZES) as house:
        tries, until = 0, time.monotonic() + 0.3

        class Exhausted:
            def fileno(self) -> int:
                return listener.fileno()

            def accept(self) -> tuple[socket.socket, object]:
                nonlocal tries
                tries += 1
                if time.monotonic() < until:
                    raise OSError(errno.EMFILE, "Too many open files")
                return listener.accept()

        (door,) = house.worker._doors._doors
        listener = door.listener
        object.__setattr__(door, "listener", Exhausted())
        assert (await house.fetch("1.m4s")).startswith(b"HTTP/1.1 200")
        assert tries < 10
        object.__setattr__(door, "listener", listener)


async def test_unreadable_orders_leave_the_old_ones_in_force(tmp_path: Path) -> None:
    async with inside(tmp_path, SIZES) as house:
        assert (await house.fetch("1.m4s")).startswith(b"HTTP/1.1 200")
        (tmp_path / "secrets" / "trust.json").write_text("{")
        house.notices_file.write_text("{")
        await house.board.acknowledged(house.board.advance(), 5)
        assert (await house.fetch("1.m4s")).startswith(b"HTTP/1.1 200")
