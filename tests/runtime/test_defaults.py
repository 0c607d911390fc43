"""nearcast.toml is the manual: it holds every setting, with the code's own default."""

import tomllib
from pathlib import Path

import pytest

from appliance.settings import ApplianceSettings
from control_plane.settings import ControlPlaneSettings
from encoder.settings import EncoderSettings
from nearcast.settings import ClusterSettings
from runtime.settings import Settings
from steering.settings import SteeringSettings

ROOMS: dict[str, type[Settings]] = {
    "nearcast": ClusterSettings,
    "control_plane": ControlPlaneSettings,
    "steering": SteeringSettings,
    "encoder": EncoderSettings,
    "appliance": ApplianceSettings,
}
FILE = Path(__file__).parents[2] / "nearcast.toml"


@pytest.mark.parametrize("room", ROOMS)
def test_the_file_equals_the_code(room: str) -> None:
    documented = tomllib.loads(FILE.read_text())[room]
    assert documented == ROOMS[room]().model_dump(mode="json", exclude_none=True)


def test_the_file_has_no_other_tables() -> None:
    assert set(tomllib.loads(FILE.read_text())) == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_every_setting_says_what_it_is(room: str) -> None:
    fields = ROOMS[room].model_fields
    assert [name for name, field in fields.items() if not field.description] == []
