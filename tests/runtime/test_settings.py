"""Flag > environment > file > default; unknown keys fail with one sentence."""

from pathlib import Path

import pytest
from pydantic import Field

from runtime.errors import Problem
from runtime.settings import Settings, load


class Toaster(Settings):
    slots: int = Field(2, ge=1)
    name: str = "toaster"
    sites: tuple[str, ...] = ("north",)


def write(folder: Path, text: str) -> Path:
    path = folder / "nearcast.toml"
    path.write_text(text)
    return path


def test_precedence(tmp_path: Path) -> None:
    file = write(tmp_path, '[toaster]\nslots = 3\nname = "file"\n[other]\nx = 1\n')
    environment = {"NEARCAST_TOASTER__SLOTS": "4", "NEARCAST_OTHER__SLOTS": "9"}
    assert load(Toaster, "toaster", environ={}).slots == 2
    assert load(Toaster, "toaster", file=file, environ={}).slots == 3
    assert load(Toaster, "toaster", file=file, environ=environment).slots == 4
    flags = {"slots": "5", "name": None}
    settings = load(Toaster, "toaster", file=file, environ=environment, flags=flags)
    assert (settings.slots, settings.name) == (5, "file")


def test_lists_in_the_environment_are_json() -> None:
    environment = {"NEARCAST_TOASTER__SITES": '["a", "b"]'}
    assert load(Toaster, "toaster", environ=environment).sites == ("a", "b")


@pytest.mark.parametrize(
    ("text", "environment", "sentence"),
    [
        ("[toaster]\nslot = 3\n", {}, "There is no setting toaster.slot."),
        ("", {"NEARCAST_TOASTER__SLOT": "3"}, "There is no setting toaster.slot."),
        ("[toaster]\nslots = 0\n", {}, "toaster.slots"),
        ("", {"NEARCAST_TOASTER__SLOTS": "many"}, "toaster.slots"),
        ("[toaster\n", {}, "is not TOML"),
        ("toaster = 3\n", {}, "is not a table"),
    ],
)
def test_errors_name_the_key(
    tmp_path: Path, text: str, environment: dict[str, str], sentence: str
) -> None:
    with pytest.raises(Problem, match=sentence) as problem:
        load(Toaster, "toaster", file=write(tmp_path, text), environ=environment)
    assert problem.value.code == "bad_settings"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="cannot be read"):
        load(Toaster, "toaster", file=tmp_path / "none.toml", environ={})
