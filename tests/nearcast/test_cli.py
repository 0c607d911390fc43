"""The command line: every command explains itself, and none loads what it does not need."""

import importlib
import json
import subprocess
import sys

import pytest
import typer

from nearcast import __version__
from nearcast.cli import COMMANDS

NEARCAST = [sys.executable, "-m", "nearcast"]


def test_help_names_every_command_and_imports_no_room() -> None:
    script = (
        "import sys; sys.argv = ['nearcast', '--help']; import nearcast.cli as c; c.main();"
        "rooms = {'encoder', 'appliance', 'steering', 'control_plane'} & set(sys.modules);"
        "assert not rooms, rooms"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_json(name: str) -> None:
    command = typer.main.get_group(importlib.import_module(COMMANDS[name][0]).app).commands[name]
    leaves = getattr(command, "commands", None) or {name: command}
    for leaf in leaves.values():
        assert "Example: nearcast" in (leaf.help or ""), leaf.name
        assert "json" in {parameter.name for parameter in leaf.params}, leaf.name


def test_groups_have_an_example_too() -> None:
    for name in COMMANDS:
        room = typer.main.get_group(importlib.import_module(COMMANDS[name][0]).app)
        assert "Example: nearcast" in (room.commands[name].help or ""), name


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["up", "--config", "/nowhere.toml"], "bad_settings"),
        (["demo", "--config", "/nowhere.toml"], "bad_settings"),
        (["demo", "--once", "--film", "/nowhere.mp4"], "bad_request"),
    ],
)
def test_what_does_not_start_says_so_in_json(arguments: list[str], code: str) -> None:
    done = subprocess.run(
        [*NEARCAST, *arguments, "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and json.loads(done.stdout)["code"] == code and done.stderr == ""


def test_version_and_unknown_commands() -> None:
    said = subprocess.run([*NEARCAST, "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == __version__
    wrong = subprocess.run([*NEARCAST, "uplod"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2 and "nearcast upload" in wrong.stderr and wrong.stdout == ""
