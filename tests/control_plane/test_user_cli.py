"""The commands of accounts and plans: what a person types, and what comes back."""

import asyncio
import json
import os
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from unittest.mock import patch

from media.accounts import Login
from media.api import Title
from tests.console import run_nearcast
from tests.control_plane.house import PASSWORD, House, code_of, send


async def run(house: House, *argv: str, **account: str) -> CompletedProcess[str]:
    """The command as the admin, or with what `account` says."""
    if not account:
        admin = Login.model_validate_json((house.data / "secrets/admin.json").read_text())
        account = {"NEARCAST_USER": admin.name, "NEARCAST_PASSWORD": admin.password}
    environment = {"NEARCAST_URL": house.url, "COLUMNS": "200", **account}
    async with house.terminal:
        with patch.dict(os.environ, environment):
            return await asyncio.to_thread(run_nearcast, argv)


async def run_json(house: House, *argv: str, **account: str) -> dict[str, Any]:
    said = await run(house, *argv, "--json", **account)
    return dict(json.loads(said.stdout))


async def test_users_are_added_changed_listed_and_removed(house: House):
    added = await run_json(house, "user", "add", "anna", "--password", PASSWORD)
    assert (added["name"], added["role"], added["plan"]) == ("anna", "viewer", None)
    set_plan = ("plan", "set", "basic", "--height", "720", "--codec", "avc", "--streams", "2")
    plan = await run_json(house, *set_plan)
    assert plan == {
        "name": "basic", "max_height": 720, "codecs": ["avc"], "streams": 2, "regions": None,
    }  # fmt: skip
    changed = await run_json(house, "user", "change", "anna", "--plan", "basic", "--disable")
    assert (changed["plan"], changed["disabled"], changed["role"]) == ("basic", True, "viewer")
    listed = await run(house, "user", "list")
    assert "anna" in listed.stdout and "disabled" in listed.stdout
    assert "720" in (await run(house, "plan", "list")).stdout
    refused = await run(house, "plan", "remove", "basic")
    assert refused.returncode == 1 and "Accounts have this plan" in refused.stderr
    assert (await run_json(house, "user", "change", "anna", "--no-plan"))["plan"] is None
    assert (await run_json(house, "plan", "remove", "basic"))["name"] == "basic"
    await run(house, "user", "change", "anna", "--enable")
    new = "quite another one"
    await run(house, "user", "password", "anna", "--password", new)
    login = {"name": "anna", "password": new}
    assert await code_of(send(house.anonymous(), "POST", "/v1/auth/login", **login)) == ""
    assert (await run(house, "user", "remove", "anna")).returncode == 0
    gone = await run_json(house, "user", "remove", "anna")
    assert gone["code"] == "unknown_user"


async def test_what_does_not_fit_is_said_in_one_sentence(house: House):
    short = await run(house, "user", "add", "anna", "--password", "short")
    assert short.returncode == 1 and "password" in short.stderr and "Traceback" not in short.stderr
    nothing = await run_json(house, "user", "change", "admin")
    assert nothing["code"] == "invalid_field"


async def test_a_program_signs_in_by_its_key(house: House, tmp_path: Path):
    made = await run_json(house, "key", "add", "nightly", "--role", "operator")
    key = {"NEARCAST_API_KEY": made["secret"]}
    assert "titles" in await run_json(house, "titles", **key)
    assert (await run_json(house, "user", "list", **key))["code"] == "not_allowed"
    assert made["key_id"] in (await run(house, "key", "list")).stdout
    await run(house, "key", "remove", made["key_id"])
    assert (await run_json(house, "titles", **key))["code"] == "token_invalid"
    assert (await run_json(house, "key", "rotate", "--forget")) == {"forgotten": True}


async def test_the_log_says_who_did_it(house: House):
    await run_json(house, "plan", "set", "basic", "--streams", "1")
    said = await run(house, "audit", "--limit", "5")
    assert "PUT /v1/plans/{plan}" in said.stdout and "basic" in said.stdout


async def test_a_command_leaves_no_device_behind(house: House):
    for _ in range(3):
        await run(house, "titles")
    admin = await house.account("admin")
    assert len((await send(admin, "GET", "/v1/devices"))["devices"]) == 1


async def test_titles_are_described(house: House):
    title = await house.published("Shadows")
    said = await run_json(
        house, "title", "edit", "Shadows", "--year", "1950", "--maturity", "12",
        "--genre", "noir", "--person", "Ida Lupino:director", "--region", "north",
        "--until", "2040-01-01",
    )  # fmt: skip
    about = Title.model_validate(said).about
    assert (about.year, about.maturity, about.regions) == (1950, 12, ("north",))
    assert about.people[0].model_dump() == {"name": "Ida Lupino", "role": "director"}
    lifted = await run_json(
        house, "title", "edit", title.title_id, "--unset", "regions", "--unset", "maturity"
    )
    about = Title.model_validate(lifted).about
    assert (about.year, about.maturity, about.regions) == (1950, None, None)
