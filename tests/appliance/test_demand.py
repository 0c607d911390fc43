"""What viewers took: a worker's and the keeper's sums, and real appliances' words."""

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from appliance.answers import Listed
from appliance.demand import DemandTally, Viewed
from appliance.gate import Grant
from appliance.want import FileWant
from media.fleet import MAX_SERVED, Demand
from media.ids import id_from
from media.inventory import rendition_of
from steering.demand import DemandBook
from tests.appliance.inside import inside
from tests.packages import SIZES, make_package

P, Q = (id_from("pkg", 1_700_000_000_000, number) for number in (1, 2))
V, A = "v-avc-720", "a-aac-en"


def listed(path: str, package_id: str = P) -> Listed:
    want = FileWant(id_from("ttl", 1, 1), package_id, "0" * 64, path, "0" * 64, 100, 100)
    return Listed(want, rendition_of(path), b"")


def grant(tmp_path: Path, scope: str) -> Grant:
    return Grant(make_package(tmp_path).claims(scope=scope))


def test_a_worker_s_sums_are_by_rendition_and_of_viewers_only(tmp_path: Path) -> None:
    viewer, peer = grant(tmp_path, "play"), grant(tmp_path, "fill")
    viewed, one, two = Viewed(), listed(f"{V}/1.m4s"), listed(f"{V}/2.m4s")
    one.viewed += 100  # as a hit does
    viewed.add(two, 30, viewer)
    viewed.add(two, 500, peer)
    viewed.add(listed("hls/master.m3u8"), 9, viewer)
    viewed.gather([one, two])  # one that was touched and brought counts once
    viewed.gather([one, two])
    assert viewed.take() == [[(P, V, 130)]]
    assert viewed.take() == []


def test_lines_and_memory_are_bounded() -> None:
    viewed = Viewed()
    files = [listed(f"{V}/1.m4s", id_from("pkg", 1, number)) for number in range(10_050)]
    for file in files:
        file.viewed = 1
    viewed.gather(files)
    parts = viewed.take()
    assert [len(part) for part in parts] == [1000] * 10
    tally = DemandTally("boot", most=50)
    for part in parts:
        tally.served(part)
    message = tally.due()
    assert message is not None
    assert {served.package_id for served in message.served} == {
        name for name, *_ in parts[-1][-50:]
    }


def test_nothing_new_is_no_message_and_figures_are_cumulative() -> None:
    tally = DemandTally("boot")
    assert tally.due() is None
    tally.served([[P, V, 10], [P, A, 1]])
    first = tally.due()
    assert first is not None
    tally.served([[P, V, 5]])
    tally.taken(first)
    second = tally.due()
    assert second is not None and second.sequence > first.sequence
    assert [(s.rendition_id, s.bytes, s.told) for s in second.served] == [(V, 15, 10)]
    tally.taken(second)
    assert tally.due() is None


def test_a_folder_of_shared_files_is_no_rendition() -> None:
    tally = DemandTally("boot")
    tally.served([[P, "a-", 10], [P, "v-" + "x" * 60, 10]])
    assert tally.due() is None


def test_more_than_a_message_holds_comes_in_several() -> None:
    tally = DemandTally("boot")
    names = [id_from("pkg", 1, number) for number in range(MAX_SERVED + 5)]
    tally.served([name, V, 1] for name in names)
    first = tally.due()
    assert first is not None and len(first.served) == MAX_SERVED
    tally.served([[names[0], V, 1]])  # goes on meanwhile, and does not stand before the others
    tally.taken(first)
    second = tally.due()
    assert second is not None
    assert [s.package_id for s in second.served] == [*names[MAX_SERVED:], names[0]]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_gets_lost_on_the_way_nothing_is_lost_or_counted_twice(seed: int) -> None:
    """Messages that do not arrive, answers that do not, messages that come again or late, a
    steering that begins anew, and an appliance that does: what arrives in the end is what was
    sent, but for what an appliance had not told when it ended."""
    dice, counted = random.Random(seed), Counter[str]()

    def book() -> DemandBook:
        return DemandBook(
            lambda region, package, rendition, sent, at_s: counted.update({rendition: sent})
        )

    steering, tally, boot = book(), DemandTally("boot-0"), 0
    truth, told = Counter[str](), list[Demand]()
    answered = True

    def deliver() -> None:
        nonlocal answered
        message = tally.due()
        if message is None:
            return
        fate = dice.choice(("fine", "lost", "no answer"))
        if fate != "lost":
            steering.take("north-1", "north", message, 0.0)
            told.append(message)
            answered = fate == "fine"
            if answered:
                tally.taken(message)

    def settle() -> None:
        nonlocal answered
        if (message := tally.due()) is not None:
            steering.take("north-1", "north", message, 0.0)
            tally.taken(message)
        answered = True

    for _ in range(200):
        match dice.randrange(10):
            case 0 | 1 | 2 | 3:
                name, sent = dice.choice((V, A)), dice.randrange(1, 1000)
                tally.served([[P, name, sent]])
                truth[name] += sent
            case 4 | 5 | 6:
                deliver()
            case 7 if told:
                old = dice.choice(told)
                if old.boot_id == f"boot-{boot}":  # an earlier boot's are gone with its connection
                    steering.take("north-1", "north", old, 0.0)
            case 8:
                if not answered:
                    settle()
                steering = book()
                told.clear()  # what is on its way to one that has ended does not arrive
            case 9:
                settle()
                boot += 1
                tally = DemandTally(f"boot-{boot}")
    settle()
    assert counted == truth


async def test_what_a_worker_hands_over_is_what_clients_read(tmp_path: Path) -> None:
    """Hits and misses, whole and in part, with HEAD and refusals beside them; nothing of a peer."""
    heard, news = Counter[tuple[str, str]](), asyncio.Event()

    def served(part: list[list[Any]]) -> None:
        for package_id, rendition_id, sent in part:
            heard[package_id, rendition_id] += sent
        news.set()

    async with inside(tmp_path, SIZES) as house:
        house.desk._served = served
        async with house.client() as (reader, writer):
            token = house.package.token(house.keys["north-1"], scope="fill")
            target = f"/{token}/{house.package.base}v-avc-720/1.m4s"
            writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
        await house.fetch("1.m4s", method="HEAD")
        await house.fetch("none.m4s")
        await house.fetch("3.m4s", "Range: bytes=9000000-")
        took = 0
        for name, line in (
            ("1.m4s", ""), ("1.m4s", ""), ("2.m4s", ""), ("init.mp4", ""), ("init.mp4", ""),
            ("2.m4s", "Range: bytes=0-99"), ("3.m4s", "Range: bytes=10-19"), ("3.m4s", ""),
        ):  # fmt: skip
            answer = await house.fetch(name, *filter(None, (line,)))
            took += len(answer.partition(b"\r\n\r\n")[2])
        async with asyncio.timeout(5):
            while heard.total() < took:
                await news.wait()
                news.clear()
    assert heard == {(house.package.package_id, "v-avc-720"): took}
