"""The commands, against an HTTP server that answers like the control plane."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner, Result

from media.accounts import Login, Tokens
from media.api import NewPurge, SteerAnswer, Title, TitlePage
from media.fleet import (
    DrainRequest,
    Pathway,
    Quality,
    Roster,
    RosterEntry,
    Skipped,
    StarvedSession,
)
from media.ids import id_from
from media.purges import PurgeDetails, PurgeJobs, PurgeProgress, PurgeState
from runtime.api import Call, Route, make_app
from runtime.errors import Problem
from runtime.service import serve_http
from steering.cli import app
from tests.steering_fleet import report

FILM, SEQUEL = (id_from("ttl", 1_700_000_000_000, number) for number in (1, 2))
PACKAGE, JOB = (id_from(kind, 1_700_000_000_000, 1) for kind in ("pkg", "job"))
NAMES = {FILM: "Big Film", SEQUEL: "Big Film 2"}
STALLED = id_from("ses", 1_700_000_000_000, 3)
PLAYED = {
    "quality": Quality(
        sessions=12, requests=400, starved_requests=3, starved_sessions=2, startups=10,
        startup_ms=8400, buffers=100, buffer_ms=1_420_000, throughputs=50, throughput_kbps=400_000,
    ),
    "starved": (StarvedSession(session_id=STALLED, starved=2, requests=9),),
}  # fmt: skip


def film(title_id: str) -> Title:
    return Title(
        title_id=title_id, name=NAMES[title_id], state="published", package_id=None, duration_s=1.0,
        max_height=720, created_at=datetime.now(UTC), published_at=None,
    )  # fmt: skip


class SteerQuestion(BaseModel):
    region: str | None = None
    client: str | None = None


class TitleQuestion(BaseModel):
    q: str = ""
    cursor: str = ""


class ControlPlane:
    """What the commands ask, and what they changed."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.drains: dict[str, bool] = {}
        self.ordered: list[NewPurge] = []
        self.states: Iterator[PurgeState | None] = iter(())  # None: steering is away

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/v1/auth/login", self.login, "", answer=Tokens, body=Login),
            Route("GET", "/v1/titles", self.titles, "", answer=TitlePage, query=TitleQuestion),
            Route("GET", "/v1/titles/{title}", self.title, "", answer=Title),
            Route(
                "GET", "/v1/titles/{title}/steer", self.steer, "",
                answer=SteerAnswer, query=SteerQuestion,
            ),
            Route("GET", "/v1/fleet", self.fleet, "", answer=Roster),
            Route("PUT", "/v1/fleet/{appliance}/drain", self.drain, "", body=DrainRequest),
            Route("POST", "/v1/purges", self.purge, "", body=NewPurge, answer=PurgeDetails),
            Route("GET", "/v1/purges", self.purges, "", answer=PurgeJobs),
            Route("GET", "/v1/purges/{job}", self.purge_of, "", answer=PurgeDetails),
            Route("POST", "/v1/purges/{job}/cancel", self.cancel, "", answer=PurgeDetails),
        ]  # fmt: skip

    async def login(self, call: Call) -> Tokens:
        assert call.body(Login).password == "correct horse"
        now = datetime.now(UTC)
        return Tokens(access_token="t", expires_at=now, refresh_token="r", refresh_expires_at=now)

    async def titles(self, call: Call) -> TitlePage:
        """One title a page, the sequel first."""
        asked = call.query(TitleQuestion)
        found = [film(i) for i in (SEQUEL, FILM) if asked.q.casefold() in NAMES[i].casefold()]
        left = [title for title in found if not asked.cursor or title.title_id < asked.cursor]
        following = left[0].title_id if len(left) > 1 else None
        return TitlePage(titles=tuple(left[:1]), next_cursor=following)

    async def title(self, call: Call) -> Title:
        return film(call.path["title"])

    async def steer(self, call: Call) -> SteerAnswer:
        question = call.query(SteerQuestion)
        self.asked.append((call.path["title"], question.model_dump(exclude_none=True)))
        if question.region == "moon":
            raise Problem("unknown_region", "There is no region 'moon'.")
        pathway = Pathway(
            appliance_id="north-1", site="north", region="north", url="http://127.0.1.1:8090",
            score=0.25, reasons=("same site", "holds it"),
        )  # fmt: skip
        skipped = Skipped(appliance_id="west-1", code="H", why="silent [for] 40 s")
        return SteerAnswer(
            title_id=call.path["title"], region="north", site="north", pathways=(pathway,),
            skipped=(skipped,),
        )  # fmt: skip

    async def fleet(self, call: Call) -> Roster:
        def entry(name: str, alive: bool) -> RosterEntry:
            said = report(name, used_bytes=123_456, **(PLAYED if alive else {}))
            return RosterEntry(
                report=said, region="north", age_s=2.0, alive=alive, draining=False,
                packages_held=3,
            )  # fmt: skip

        return Roster(appliances=(entry("north-1", True), entry("west-1", False)))

    async def drain(self, call: Call) -> None:
        if call.path["appliance"] not in ("north-1", "west-1"):
            raise Problem("unknown_appliance", f"{call.path['appliance']} has not reported.")
        self.drains[call.path["appliance"]] = call.body(DrainRequest).draining

    async def purge(self, call: Call) -> PurgeDetails:
        self.ordered.append(call.body(NewPurge))
        return self._purge("pending")

    async def purges(self, call: Call) -> PurgeJobs:
        return PurgeJobs(purges=(self._purge("active"),))

    async def purge_of(self, call: Call) -> PurgeDetails:
        """As far as it is by the next look."""
        if call.path["job"] != JOB:
            raise Problem("unknown_purge")
        state = next(self.states)
        if state is None:
            raise Problem("steering_unavailable")
        return self._purge(state)

    async def cancel(self, call: Call) -> PurgeDetails:
        return self._purge("cancelling")

    def _purge(self, state: PurgeState) -> PurgeDetails:
        """One appliance has obeyed, and the other is as far as the purge is."""
        obeyed = state == "complete"
        last = "complete" if obeyed else "pending"
        return PurgeDetails(
            title_id=FILM, job_id=JOB, state=state, created_at=datetime.now(UTC),
            deadline_at=datetime.now(UTC), obeyed=1 + obeyed, awaited=1 - obeyed, files=7,
            why="Not obeyed by the deadline: west-1." if state == "failed" else "",
            appliances=(
                PurgeProgress(appliance_id="north-1", state="complete", awaited=False, alive=True,
                              files=7),
                PurgeProgress(appliance_id="west-1", state=last, awaited=not obeyed, alive=obeyed),
            ),
        )  # fmt: skip


@pytest.fixture
async def control(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ControlPlane]:
    made = ControlPlane()
    runner, url = await serve_http(make_app(made.routes()), "127.0.0.1:0")
    monkeypatch.setenv("NEARCAST_URL", url)
    monkeypatch.setenv("NEARCAST_USER", "admin")
    monkeypatch.setenv("NEARCAST_PASSWORD", "correct horse")
    yield made
    await runner.cleanup()


async def run(*argv: str) -> Result:
    """The command, run as a user runs it, beside the server's loop."""
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, argv))


@pytest.mark.parametrize("title", ["Big Film", "big film", FILM])
async def test_steer_takes_a_name_or_an_id(control: ControlPlane, title: str) -> None:
    result = await run("steer", title, "--region", "north", "--json")
    assert result.exit_code == 0, result.output
    answer = SteerAnswer.model_validate_json(result.stdout)
    assert answer.pathways[0].appliance_id == "north-1"
    assert control.asked == [(FILM, {"region": "north"})]


async def test_steer_shows_reasons_and_codes(control: ControlPlane) -> None:
    result = await run("steer", FILM, "--client", "192.0.2.7")
    assert result.exit_code == 0, result.output
    for words in ("north-1", "same site", "holds it", "west-1", "health: silent [for]"):
        assert words in result.stdout
    assert control.asked == [(FILM, {"client": "192.0.2.7"})]


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("steer", "Nothing", "--region", "north"), "unknown_title", "no title 'Nothing'"),
        (("steer", "Big", "--region", "north"), "bad_request", "Several titles fit 'Big'"),
        (("steer", "a[/b]", "--region", "north"), "unknown_title", "no title 'a[/b]'"),
        (("steer", FILM, "--region", "moon"), "unknown_region", "no region 'moon'"),
        (("fleet", "show", "nobody"), "unknown_appliance", "no appliance nobody"),
        (("fleet", "drain", "nobody"), "unknown_appliance", "nobody has not reported"),
        (("fleet", "purge", "Nothing"), "unknown_title", "no title 'Nothing'"),
        (("fleet", "purge", "--pattern", "a"), "invalid_field", "a pattern matches titles/"),
    ],
)
async def test_errors_are_a_sentence_or_a_document(
    control: ControlPlane, argv: tuple[str, ...], code: str, words: str
) -> None:
    result = await run(*argv)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert words in " ".join(result.stderr.split())
    result = await run(*argv, "--json")
    assert result.exit_code == 1
    problem = json.loads(result.stdout)
    assert problem["code"] == code
    assert words in problem["detail"]


@pytest.mark.parametrize("argv", [(), ("--region", "north", "--client", "192.0.2.7")])
async def test_steer_wants_one_place(argv: tuple[str, ...]) -> None:
    assert (await run("steer", FILM, *argv)).exit_code == 2


async def test_fleet_list_and_show(control: ControlPlane) -> None:
    listed = await run("fleet", "list", "--json")
    entries = Roster.model_validate_json(listed.stdout).appliances
    assert [entry.report.appliance_id for entry in entries] == ["north-1", "west-1"]
    table = await run("fleet", "list")
    assert table.exit_code == 0
    for words in ("north-1", "west-1", "silent", "serving"):
        assert words in table.stdout
    shown = await run("fleet", "show", "north-1")
    assert "used_bytes" in shown.stdout and "123456" in shown.stdout
    words = " ".join(shown.stdout.split())
    assert (
        "Players: 12 sessions, 0.75% of requests with an empty buffer, 2 sessions stalled, "
        "start-up 0.8 s, buffer 14.2 s, throughput 8.0 Mbit/s."
    ) in words
    assert f"session_id {STALLED}, starved 2, requests 9" in words
    silent = await run("fleet", "show", "west-1")
    assert "none has said how it plays" in " ".join(silent.stdout.split())
    as_json = await run("fleet", "show", "west-1", "--json")
    assert RosterEntry.model_validate_json(as_json.stdout).report.appliance_id == "west-1"


async def test_drain_and_restore(control: ControlPlane) -> None:
    assert "gets no new viewers" in (await run("fleet", "drain", "north-1")).stdout
    assert control.drains == {"north-1": True}
    restored = await run("fleet", "restore", "north-1", "--json")
    assert json.loads(restored.stdout) == {"appliance_id": "north-1", "draining": False}
    assert control.drains == {"north-1": False}


@pytest.mark.parametrize(
    ("argv", "target"),
    [
        (("Big Film",), NewPurge(title_id=FILM)),
        ((SEQUEL,), NewPurge(title_id=SEQUEL)),
        ((PACKAGE,), NewPurge(package_id=PACKAGE)),
        (("--pattern", "titles/*.m4s"), NewPurge(pattern="titles/*.m4s")),
    ],
)
async def test_purge_takes_a_title_a_package_or_a_pattern(
    control: ControlPlane, argv: tuple[str, ...], target: NewPurge
) -> None:
    result = await run("fleet", "purge", *argv, "--json")
    assert result.exit_code == 0, result.output
    assert PurgeDetails.model_validate_json(result.stdout).state == "pending"
    assert control.ordered == [target]


async def test_purge_waits_to_the_end_and_tells_what_is_new(control: ControlPlane) -> None:
    control.states = iter(("active", None, "active", "complete"))
    result = await run("fleet", "purge", FILM, "--wait")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[:3] == ["north-1: complete, 7 files", "west-1: pending, away", "west-1: complete"]
    control.states = iter((None, "complete"))
    as_json = await run("fleet", "purge", FILM, "--wait", "--json")
    assert PurgeDetails.model_validate_json(as_json.stdout).state == "complete"


@pytest.mark.parametrize("end", ["failed", "cancelled"])
async def test_a_purge_that_is_not_complete_is_a_failure(
    control: ControlPlane, end: PurgeState
) -> None:
    control.states = iter(("active", end))
    result = await run("fleet", "purge", FILM, "--wait", "--json")
    problem = json.loads(result.stdout)
    assert (result.exit_code, problem["code"]) == (1, "purge_incomplete")
    assert end in problem["detail"] and ("west-1" in problem["detail"]) == (end == "failed")


@pytest.mark.parametrize(
    "argv", [("purge",), ("purge", FILM, "--pattern", "*"), ("purges", "x"), ("purges", "--cancel")]
)
async def test_purges_want_one_thing(control: ControlPlane, argv: tuple[str, ...]) -> None:
    assert (await run("fleet", *argv)).exit_code == 2
    assert control.ordered == []


async def test_purges_are_listed_shown_and_cancelled(control: ControlPlane) -> None:
    table = await run("fleet", "purges")
    assert table.exit_code == 0 and JOB in table.stdout and "active" in table.stdout
    listed = await run("fleet", "purges", "--json")
    assert PurgeJobs.model_validate_json(listed.stdout).purges[0].title_id == FILM
    control.states = iter(("failed",))
    assert "Not obeyed by the deadline: west-1." in (await run("fleet", "purges", JOB)).stdout
    cancelled = await run("fleet", "purges", JOB, "--cancel", "--json")
    assert json.loads(cancelled.stdout)["state"] == "cancelling"
    unknown = await run("fleet", "purges", id_from("job", 1, 1), "--json")
    assert json.loads(unknown.stdout)["code"] == "unknown_purge"


@pytest.mark.parametrize(
    "command",
    [
        ("steer",),
        *(("fleet", n) for n in ("list", "show", "drain", "restore", "purge", "purges")),
    ],
)
async def test_every_help_has_an_example(command: tuple[str, ...]) -> None:
    result = await run(*command, "--help")
    assert result.exit_code == 0
    assert f"Example: nearcast {' '.join(command)}" in result.stdout
