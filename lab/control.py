"""`nearcast bench control`: the control plane when everybody presses play.

A control plane and a steering service of their own, a fleet that reports, and a catalog with a
history. Server and load share the cores as they come.
"""

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from lab.bench import Bar, Effort, Row, alone, chosen
from lab.open_loop import Told, as_fast_as_it_goes, offer
from lab.steer import keep_reporting, report_all
from lab.world import make_keys
from media.accounts import Login, NewUser
from media.ids import id_from
from runtime.client import Client
from runtime.control_api import ControlApi
from runtime.errors import problem_of
from runtime.supervise import Daemon

_TITLES, _WATCHED, _USERS = 10_000, 100_000, 1000
_ACCOUNTS = 20  # that sign in; each plays for many
_PLACES = {f"{site}-{n}": site for site in ("north", "south", "west") for n in range(3)}
_START_RATE, _HOME_RATE = 200, 50  # a second
_OVERLOAD = 6
_AFTER_S = 10.0
_PASSWORD = "a bench's own password"
_WORDS = ("river", "night", "house", "winter", "letter", "garden", "storm", "city", "island")


@dataclass(frozen=True)
class Where:
    """The database and the shared state; empty: those of one machine."""

    database: str = ""
    state: str = ""


async def bench_control(
    where: Where, cases: Sequence[str], effort: Effort, tell: Callable[[str], None]
) -> list[Row]:
    """The rows of the cases (all, if none is named). Raises Problem for an unknown one."""
    wanted = chosen(cases, CASES)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="nearcast-bench-") as folder:
        async with _services(Path(folder), where) as crowd:
            for name, measure in wanted.items():
                tell(name)
                rows += await measure(crowd, effort)
    return rows


class Crowd:
    """Viewers of one control plane."""

    def __init__(self, url: str, session: aiohttp.ClientSession, tokens: list[str]) -> None:
        self._url = url
        self._session = session
        self._tokens = tokens
        self._dice = random.Random(7)
        self._titles = [_title_id(n) for n in range(_TITLES)]

    async def start(self, number: int) -> str:
        """Presses play: most want what most want."""
        title = self._titles[int(_TITLES ** self._dice.random()) - 1]
        body = json.dumps({"title_id": title, "region": ("north", "south")[number % 2]})
        return await self._call(number, "POST", "/v1/sessions", body)

    async def home(self, number: int) -> str:
        """Looks at the home page."""
        region = ("north", "south", "west")[number % 3]
        return await self._call(number, "GET", f"/v1/home?region={region}")

    async def browse(self, number: int) -> str:
        """Looks around."""
        word = _WORDS[number % len(_WORDS)]
        wanted = (
            "/v1/home?region=north",
            "/v1/titles?limit=20",
            f"/v1/titles?q={word[:3]}&limit=20",
            f"/v1/titles/{self._titles[number % _TITLES]}",
        )
        return await self._call(number, "GET", wanted[number % len(wanted)])

    async def _call(self, number: int, method: str, path: str, body: str | None = None) -> str:
        headers = {"Authorization": f"Bearer {self._tokens[number % len(self._tokens)]}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with self._session.request(
                method, self._url + path, data=body, headers=headers
            ) as answer:
                raw = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return type(error).__name__
        if answer.status < 400:
            return ""
        problem = problem_of(raw)
        return problem.code if problem else str(answer.status)


async def _starts(crowd: Crowd, effort: Effort) -> list[Row]:
    """`POST /v1/sessions`, 200 a second."""
    await offer(crowd.start, _START_RATE / 4, 3)
    told = await offer(crowd.start, _START_RATE, effort.pairs * effort.seconds)
    return [
        _timed("starts", told, Bar(200, "less", "ours")),
        alone("starts-failed", "of all", round(1 - told.good, 4), Bar(0, "less", "ours")),
    ]


async def _home(crowd: Crowd, effort: Effort) -> list[Row]:
    """The home page of 10,000 titles and 100,000 rows of history, 50 times a second."""
    await offer(crowd.home, _HOME_RATE / 2, 3)
    told = await offer(crowd.home, _HOME_RATE, effort.pairs * effort.seconds)
    return [
        _timed("home", told, Bar(100, "less", "ours")),
        alone("home-failed", "of all", round(1 - told.good, 4), Bar(0, "less", "ours")),
    ]


async def _overload(crowd: Crowd, effort: Effort) -> list[Row]:
    """Six times as many come as are borne, one in twenty to press play. It is over when a second's
    browsing is answered as before."""
    borne = await as_fast_as_it_goes(crowd.browse, 16, 5)
    offered = borne * _OVERLOAD
    seconds = effort.pairs * effort.seconds
    plays, browsing = await asyncio.gather(
        offer(crowd.start, offered / 20, seconds),
        offer(crowd.browse, offered * 19 / 20, seconds),
    )
    ended = time.perf_counter()
    calm = Told()
    while time.perf_counter() - ended < 3 * _AFTER_S:
        calm = await offer(crowd.browse, borne / 4, 1)
        if calm.good == 1.0:
            break
    recovered_s = time.perf_counter() - ended
    shed = browsing.other["overloaded"] / max(1, browsing.calls)
    notes = {
        "borne_per_s": round(borne),
        "offered_per_s": round(offered),
        "plays": plays.calls,
        "plays_p99_ms": round(plays.percentile_ms(0.99), 1),
        "plays_failed": dict(plays.other),
        "browsing_failed": dict(browsing.other),
    }
    kept = alone("overload-plays", "of play starts", round(plays.good, 4), Bar(0.99, of="ours"))
    return [
        replace(kept, notes=notes),
        alone("overload-shed", "of browsing", round(shed, 3), Bar(None, of="ours")),
        alone("overload-after", "s", round(recovered_s, 1), Bar(_AFTER_S, "less", "ours")),
    ]


def _timed(name: str, told: Told, bar: Bar) -> Row:
    row = alone(name, "ms, p99", round(told.percentile_ms(0.99), 1), bar)
    notes = {
        "calls": told.calls,
        "p50_ms": round(told.percentile_ms(0.5), 1),
        "failed": dict(told.other),
    }
    return replace(row, notes=notes)


@asynccontextmanager
async def _services(data: Path, where: Where) -> AsyncIterator[Crowd]:
    """A control plane with a catalog, and steering with a fleet."""
    keys = make_keys(data, *_PLACES)
    database = where.database or f"sqlite+aiosqlite:///{data / 'control.db'}"
    async with AsyncExitStack() as stack:
        log = stack.enter_context((data / "log").open("ab"))

        async def run(room: str, **settings: str) -> str:
            argv = [sys.executable, "-m", room, f"--data={data}", "--log-level=error"]
            argv += [f"--set={name}={value}" for name, value in settings.items()]
            daemon = Daemon(room, argv, log=log)
            stack.push_async_callback(daemon.stop)
            return (await daemon.start())["http"]

        steering = await run(
            "steering", listen="127.0.0.1:0", control_plane_url="http://127.0.0.1:9"
        )
        control = await run(
            "control_plane",
            listen="127.0.0.1:0",
            steering_url=steering,
            database=database,
            state=where.state or "memory:",
            access_token_s="7200",
            argon2_passes="1",
            argon2_memory_kib="8",
            argon2_lanes="1",
            caller_rate="1000000",
            caller_burst="1000000",
        )
        users, tokens = await _accounts(control, data)
        await _furnish(database, users)
        browser = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=20),
            )
        )
        await report_all(browser, steering, _PLACES, keys)
        async with asyncio.TaskGroup() as group:
            reports = group.create_task(keep_reporting(steering, _PLACES, keys), name="reports")
            yield Crowd(control, browser, tokens)
            reports.cancel()


async def _accounts(control: str, data: Path) -> tuple[list[str], list[str]]:
    """Viewers who are signed in: their ids and tokens."""
    admin = Login.model_validate_json((data / "secrets" / "admin.json").read_text())
    users, tokens = [], []
    async with ControlApi(Client(control)) as anonymous:
        first = await anonymous.login(admin)
        async with ControlApi(Client(control, authorize=lambda: first.access_token)) as api:
            for number in range(_ACCOUNTS):
                new = NewUser(name=f"viewer-{number}", password=_PASSWORD)
                users.append((await api.create_user(new)).user_id)
                login = Login(name=new.name, password=_PASSWORD)
                tokens.append((await anonymous.login(login)).access_token)
    return users, tokens


async def _furnish(url: str, users: list[str]) -> None:
    """Titles, their packages, more users and everybody's history, straight into the tables."""
    dice = random.Random(11)
    engine = create_async_engine(url)
    more = [id_from("usr", 1, number) for number in range(_USERS - len(users))]
    search = _SEARCH_SQLITE if engine.dialect.name == "sqlite" else _SEARCH_POSTGRES
    async with engine.begin() as connection:
        for statement, rows in (
            (_TITLE, [_title(number, dice) for number in range(_TITLES)]),
            (_PACKAGE, [_package(number) for number in range(_TITLES)]),
            (_USER, [{"user": user, "name": user} for user in more]),
            (_WATCH, _watched([*users, *more], dice)),
            (search, [_words(number, dice) for number in range(_TITLES)]),
        ):
            await connection.execute(text(statement), rows)
    async with engine.connect() as connection:
        plain = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await plain.execute(text("ANALYZE"))
    await engine.dispose()


_TITLE = (
    "INSERT INTO titles (title_id, name, folded, about, state, package_id, created_at,"
    " published_at) VALUES (:title, :name, :folded, '{}', 'published', :package, 1, 1)"
)
_PACKAGE = (
    "INSERT INTO packages (package_id, title_id, inventory_sha256, duration_s, max_height,"
    " total_bytes, encryption, created_at) VALUES (:package, :title, :sha256, 5400, 1080, 1, '', 1)"
)
_USER = (
    "INSERT INTO users (user_id, name, password_hash, role, disabled, created_at)"
    " VALUES (:user, :name, '-', 'viewer', FALSE, 1)"
)
_WATCH = (
    "INSERT INTO watched (user_id, profile_id, title_id, region, position_s, finished, watched_at)"
    " VALUES (:user, '', :title, :region, :position, :finished, :at)"
)
_SEARCH_SQLITE = "INSERT INTO title_search (title_id, words) VALUES (:title, :words)"
_SEARCH_POSTGRES = (
    "INSERT INTO title_search (title_id, words)"
    " VALUES (:title, array_to_tsvector(string_to_array(:words, ' ')))"
)


def _title_id(number: int) -> str:
    return id_from("ttl", 1_700_000_000_000 + number, number)


def _package_id(number: int) -> str:
    return id_from("pkg", 1_700_000_000_000 + number, number)


def _title(number: int, dice: random.Random) -> dict[str, object]:
    name = " ".join(dice.sample(_WORDS, 2))
    return {
        "title": _title_id(number),
        "package": _package_id(number),
        "name": f"{name} {number}",
        "folded": f"{name} {number}",
    }


def _package(number: int) -> dict[str, object]:
    return {
        "package": _package_id(number),
        "title": _title_id(number),
        "sha256": f"{number:064x}",
    }


def _words(number: int, dice: random.Random) -> dict[str, object]:
    words = " ".join(sorted({*dice.sample(_WORDS, 2), str(number)}))
    return {"title": _title_id(number), "words": words}


def _watched(users: Sequence[str], dice: random.Random) -> list[dict[str, object]]:
    """Each user's history, most of what most watch."""
    now_ms = int(time.time() * 1000)
    rows: list[dict[str, object]] = []
    for user in users:
        seen: set[int] = set()
        while len(seen) < _WATCHED // len(users):
            seen.add(int(_TITLES ** dice.random()) - 1)
        rows += [
            {
                "user": user,
                "title": _title_id(number),
                "region": dice.choice(("north", "south", "west")),
                "position": dice.uniform(0, 5400),
                "finished": dice.random() < 0.5,
                "at": now_ms - dice.randrange(30 * 86_400_000),
            }
            for number in sorted(seen)
        ]
    return rows


CASES: dict[str, Callable[[Crowd, Effort], Awaitable[list[Row]]]] = {
    "starts": _starts,
    "home": _home,
    "overload": _overload,
}
