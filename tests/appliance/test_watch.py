"""What the keeper sees: board, cache and fills as they are, and a real appliance's metrics."""

import time
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.board import Board, Word
from appliance.cache import Cache
from appliance.early_fills import EarlyFills
from appliance.fill import Fills
from appliance.folders import Folders, FolderShare
from appliance.health import HOLD_S
from appliance.metrics import PREFIX, TABLE, exposition
from appliance.plan import PlanFollower
from appliance.settings import ApplianceSettings
from appliance.shed import Priority
from appliance.sources import StoreSource
from appliance.tally import Tally, note
from appliance.want import FileWant
from appliance.watch import Watch
from media.fleet import Plan, PlanItem
from media.ids import id_from
from media.objects import open_store
from runtime.errors import Problem
from tests.appliance.conftest import Standing
from tests.packages import SIZES, make_package

SECOND_US = 1_000_000


class House:
    """A board with two workers on it, and a watch."""

    def __init__(self, folder: Path) -> None:
        self.board = Board(folder / "board")
        for slot in (0, 1):
            self.board.row(slot)[Word.ALIVE] = 1
        self.rows = [self.board.row(slot) for slot in (0, 1)]
        self.tallies = [self.board.tally(slot) for slot in (0, 1)]
        # What an earlier boot has left on the board.
        self.rows[0][Word.REQUESTS] = 1000
        self.tallies[1][Tally.SHED + Priority.PEER] = 70
        note(self.tallies[0], Tally.HIT, 100)
        folders = Folders([FolderShare(folder / "cache", 10_000_000)], "boot")
        self.cache = Cache(folders, self.board)
        self.cache.open()
        self.fills = Fills(self.cache, stall_s=10)
        self.draining = False
        self.early = EarlyFills(self.fills, self.board, 8, lambda: self.draining)
        settings = ApplianceSettings(capacity_bps=8_000_000, max_connections=100, workers=2)
        self.watch = Watch(self.board, self.cache, self.fills, settings, lambda: self.draining)
        self.plan = PlanFollower(self.fills, 1, lambda want: b"", lambda plan: None)
        self.now_s = time.monotonic()

    def pass_time(self, seconds: int, bytes_per_s: int = 0) -> str:
        """So many seconds of sending; returns the state."""
        for _ in range(seconds * 4):
            self.now_s += 0.25
            self.rows[0][Word.BYTES_OUT] += bytes_per_s // 4
            self.watch.look(self.now_s)
        return self.watch.health.state


@pytest.fixture
async def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_counters_begin_with_this_boot_and_are_summed(house: House) -> None:
    assert house.watch.counters().model_dump(exclude_defaults=True) == {}
    house.rows[0][Word.REQUESTS] += 10
    house.rows[1][Word.REQUESTS] += 5
    house.rows[1][Word.HITS] += 4
    house.tallies[0][Tally.SHED + Priority.PREFETCH] += 1
    house.tallies[1][Tally.SHED + Priority.PEER] += 2
    counters = house.watch.counters()
    assert (counters.requests, counters.hits, counters.sheds) == (15, 4, 3)


async def test_figures_are_those_of_the_table(house: House) -> None:
    house.tallies[0][Tally.ANSWERS + 2] += 7
    house.tallies[1][Tally.ANSWERS + 5] += 1
    house.tallies[1][Tally.SHED + Priority.FIRST] += 1
    note(house.tallies[0], Tally.HIT, 12)
    note(house.tallies[1], Tally.HIT, 12)
    note(house.tallies[1], Tally.FILL, 80_000)
    for tally in house.tallies:
        tally[Tally.FLIGHTS], tally[Tally.LIMIT] = 3, 64
    house.plan.adopt(
        Plan(
            appliance_id="north-1",
            version="1",
            items=tuple(
                PlanItem(
                    title_id=id_from("ttl", 1, 1), package_id=id_from("pkg", 1, number),
                    inventory_sha256="0" * 64, bytes=1_000,
                )
                for number in range(9)
            ),
        )
    )  # fmt: skip
    house.fills.plan_bytes_by_kind["peer"] = 7
    figures = house.watch.figures(house.plan, house.early)
    assert figures.keys() == {row.name for row in TABLE}
    text = exposition(figures).decode()
    for line in (
        'answers_total{status="2xx"} 7.0',
        'answers_total{status="5xx"} 1.0',
        'sheds_total{priority="first"} 1.0',
        'sheds_total{priority="peer"} 0.0',
        'hit_first_byte_seconds_bucket{le="1.6e-05"} 2.0',
        "hit_first_byte_seconds_count 2.0",
        "hit_first_byte_seconds_sum 2.4e-05",
        "fill_first_byte_seconds_sum 0.08",
        "flights 6.0",
        "flight_limit 128.0",
        "plan_missing_files 9.0",
        "plan_missing_bytes 9000.0",
        'plan_fill_bytes_total{source="peer"} 7.0',
        "workers_alive 2.0",
        'health_state{state="serving"} 1.0',
        f'cache_folder_in_service{{folder="{house.cache.stocks[0].shelf.folder}"}} 1.0',
    ):
        assert PREFIX + line in text.splitlines()


async def test_egress_strains_and_workers_see_the_pressure(house: House) -> None:
    assert house.pass_time(60, bytes_per_s=850_000) == "strained"
    assert house.watch.health.bottleneck.startswith("egress at 8")
    assert house.board.pressure == pytest.approx(0.85, abs=0.05)
    assert house.pass_time(3) == "strained"
    assert house.pass_time(int(HOLD_S) + 2) == "serving"


async def test_connections_count_over_all_workers(house: House) -> None:
    house.rows[0][Word.OPEN] = 165
    assert house.pass_time(1) == "strained"
    assert house.watch.health.bottleneck == "connections at 82%"


async def test_lag_as_workers_tell_it_and_as_a_hung_one_shows_it(house: House) -> None:
    def beat(seconds: float, lag_us: int, slots: tuple[int, ...]) -> str:
        for _ in range(round(seconds * 4)):
            house.now_s += 0.25
            for slot in slots:
                house.tallies[slot][Tally.BEAT_US] = int(house.now_s * SECOND_US)
            house.tallies[1][Tally.LAG_US] = lag_us
            house.watch.look(house.now_s)
        return house.watch.health.state

    assert beat(0.5, 400_000, (0, 1)) == "serving"  # a hiccup
    assert beat(10, 0, (0, 1)) == "serving"
    assert beat(10, 230_000, (0, 1)) == "strained"
    assert house.watch.health.bottleneck == "loop lag at 91%"
    assert beat(20, 0, (0, 1)) == "serving"
    assert beat(2.5, 0, (0,)) == "strained"  # the other one hangs, and says nothing
    house.rows[1][Word.ALIVE] = 0  # it is killed: the dead have no lag
    assert beat(20, 0, (0,)) == "serving"


async def test_shedding_strains_and_does_not_press(house: House) -> None:
    for _ in range(60):
        house.rows[0][Word.REQUESTS] += 25
        house.tallies[0][Tally.SHED + Priority.FIRST] += 5
        house.pass_time(1)
    assert house.watch.health.bottleneck.startswith("shedding at ")
    assert house.watch.health.load > 1
    assert house.board.pressure == 0


async def test_that_peers_and_early_fills_wait_is_no_trouble(house: House) -> None:
    for _ in range(60):
        house.rows[0][Word.REQUESTS] += 25
        house.tallies[0][Tally.SHED + Priority.PEER] += 5
        house.tallies[0][Tally.SHED + Priority.PREFETCH] += 5
        assert house.pass_time(1) == "serving"


async def test_a_disk_that_takes_no_writes_and_an_operator(house: House) -> None:
    house.cache.disk_ok = False
    assert house.pass_time(1) == "strained"
    assert house.watch.health.bottleneck == "the cache disk takes no writes"
    house.draining = True
    assert house.pass_time(1) == "draining"


async def test_fills_that_fail(house: House, tmp_path: Path) -> None:
    package = make_package(tmp_path / "store")
    claims = package.claims()

    store = open_store(f"file://{tmp_path / 'nothing'}")
    house.fills.sources = [StoreSource(store)]
    for number in range(8):
        path = f"v-avc-720/{number}.m4s"
        want = FileWant(
            claims.title_id, claims.package_id, claims.inventory_sha256, path, "0" * 64, 5, 5
        )
        with pytest.raises(Problem, match="No source"):
            await house.fills.join(want).wait()
    house.pass_time(1)
    assert house.watch.health.bottleneck == "100% of fills fail"
    assert house.watch.health.load == 0  # and what is held is served


async def test_what_players_say_is_counted(house: House) -> None:
    notes = [(id_from("ses", 1_700_000_000_000, 1), "pkg/v/1.m4s", "bs%2Cmsd%3D1500%2Cot%3Dv")]
    house.watch.hear(notes, 100.0)
    figures = house.watch.figures(house.plan, house.early)
    assert figures["player_starved_requests"] == 1
    assert figures["player_startup_seconds"] == 1.5


async def test_a_real_appliance_tells(shared: Standing) -> None:
    assert shared.daemon is not None
    package = shared.package()
    url = shared.url(package, "v-avc-720/3.m4s")
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.get(url) as answer:
                assert len(await answer.read()) == SIZES["3.m4s"]
        async with session.get(f"{shared.daemon.urls['admin']}/metrics") as answer:
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            text = await answer.text()
    told = {
        (sample.name.removeprefix(PREFIX), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert told["requests_total",] == 2
    assert told["lookups_total", "hit"] == 1
    assert told["sent_bytes_total",] == 2 * SIZES["3.m4s"]
    assert told["fill_bytes_total", "store"] > SIZES["3.m4s"]
    assert told["fills_total",] == 3  # inventory, list and segment
    assert (told["filled_files_total", "store"], told["filled_files_total", "peer"]) == (3, 0)
    assert told["health_state", "serving"] == 1
    assert told["workers_alive",] == 1
