"""What a machine writes when it joins, and what its operator is told."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from appliance.settings import ApplianceSettings
from media.enrolment import Enrolled
from media.keys import Identity
from runtime.enrolment import Wishes, config_text, credentials_of, enrol, own_url, warnings
from runtime.errors import Problem
from runtime.settings import load
from runtime.systemd import Unit

TOLD = Enrolled(
    appliance_id="west-3",
    site="west",
    steering_url="http://10.0.0.1:8081",
    store="s3://films?endpoint=http://10.0.0.2:8333",
    keys=(),
)
TOKEN = "west-3." + "A" * 43


def test_the_settings_are_those_of_an_appliance(tmp_path: Path) -> None:
    wishes = Wishes(
        tmp_path, "0.0.0.0:8090", "127.0.0.1:8091", "http://192.0.2.7:8090",
        cache_dirs=('/mnt/"a"=1048576', "/mnt/b"), budget_bytes=2**30,
    )  # fmt: skip
    file = tmp_path / "nearcast.toml"
    file.write_text(config_text(TOLD, "https://control.example", wishes))
    settings = load(ApplianceSettings, "appliance", file=file, environ={})
    assert settings.site == "west" and settings.budget_bytes == 2**30
    assert settings.cache_dirs == wishes.cache_dirs and settings.store == TOLD.store
    assert settings.steering_url == TOLD.steering_url and settings.listen == wishes.listen
    plain = tomllib.loads(config_text(TOLD, "", Wishes(tmp_path, "h:1", "h:2", store="file:///s")))
    assert plain["appliance"]["store"] == "file:///s"
    assert "budget_bytes" not in plain["appliance"]


@pytest.mark.parametrize(
    ("url", "told", "words"),
    [
        ("https://control.example", {"store_credentials": {"AWS_ACCESS_KEY_ID": "a"}}, []),
        ("https://control.example", {}, ["AWS_ACCESS_KEY_ID"]),
        ("http://control.example", {"store": "file:///"}, ["plain HTTP"]),
        ("http://[2001:db8::1]:8080", {"store": "file:///"}, ["plain HTTP"]),
        ("http://127.0.0.1:8080", {"store": "file:///"}, []),
        ("http://[::1]:8080", {"store": "file:///", "steering_url": "http://[::1]:1"}, []),
        (
            "https://c.example",
            {"store": "file:///", "steering_url": "http://[::1]:1"},
            ["Steering"],
        ),
        ("http://localhost:8080", {"store": "file:///nowhere"}, ["not on this machine"]),
    ],
)
def test_what_the_operator_is_warned_of(
    url: str, told: dict[str, object], words: list[str]
) -> None:
    found = warnings(url, TOLD.model_copy(update=told))
    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))


def test_the_address_that_others_reach() -> None:
    assert own_url("192.0.2.7:8090", "https://control.example") == "http://192.0.2.7:8090"
    assert own_url("[2001:db8::7]:80", "https://control.example") == "http://[2001:db8::7]:80"
    assert own_url("0.0.0.0:8090", "http://127.0.0.1:8080") == "http://127.0.0.1:8090"
    assert own_url("127.0.0.1:0", "http://127.0.0.1:8080") == ""
    assert own_url("[::]:8090", "http://[::1]:8080") == "http://[::1]:8090"
    for elsewhere in ("http://nowhere.invalid", "http://[::1]:8080"):
        with pytest.raises(Problem, match="--public-url"):
            own_url("0.0.0.0:8090", elsewhere)


async def test_the_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    Identity.open("control", "control", tmp_path / "secrets" / "control.key")
    with pytest.raises(Problem) as refused:
        await enrol("http://127.0.0.1:1", TOKEN, Wishes(tmp_path, "127.0.0.1:0", "127.0.0.1:0"))
    assert refused.value.code == "data_in_use"
    assert not (tmp_path / "secrets" / "west-3.key").exists()


async def test_a_control_plane_that_is_away_leaves_the_key_for_the_next_try(tmp_path: Path) -> None:
    key = tmp_path / "secrets" / "west-3.key"
    seen = []
    for _ in range(2):
        with pytest.raises(Problem):
            await enrol("http://127.0.0.1:1", TOKEN, Wishes(tmp_path, "127.0.0.1:0", "127.0.0.1:0"))
        seen.append(key.read_bytes())
    assert seen[0] == seen[1] and key.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "nearcast.toml").exists()


def test_credentials_are_those_of_the_store_alone(tmp_path: Path) -> None:
    assert credentials_of(tmp_path) == {}
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "store.env").write_text("# reader\nAWS_ACCESS_KEY_ID=a=b\nPATH=/evil\n")
    assert credentials_of(tmp_path) == {"AWS_ACCESS_KEY_ID": "a=b"}


def unit(data: Path, *caches: Path, port: int = 8090, program: Path = Path("/opt")) -> Unit:
    argv = (sys.executable, "-m", "nearcast", "appliance", "west-3", "--data", str(data))
    return Unit("west-3", argv, data, caches, "nearcast", program, port)


def test_systemd_makes_an_account_where_it_can() -> None:
    own = unit(Path("/var/lib/nearcast"))
    assert "DynamicUser=yes\nStateDirectory=nearcast\n" in own.text() and own.first() == []
    assert "ProtectHome=yes" in own.text() and "CapabilityBoundingSet=\n" in own.text()
    other = unit(
        Path("/srv/100% $full"), Path("/mnt/a"), port=443, program=Path("/home/x/nearcast")
    )
    assert '"/srv/100%% $$full"' in other.text()
    assert 'User=nearcast\nReadWritePaths="/srv/100%% $full" /mnt/a\n' in other.text()
    assert "ProtectHome=read-only" in other.text()
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in other.text()
    assert other.first()[1].endswith("chown -R nearcast: '/srv/100% $full' /mnt/a")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd")
@pytest.mark.parametrize("name", ["/var/lib/nearcast", "a b"])
def test_systemd_understands_the_unit(tmp_path: Path, name: str) -> None:
    file = tmp_path / "nearcast-west-3.service"
    data = tmp_path / name  # an absolute name stands for itself
    # Accounts are looked up, and this machine has no other for sure.
    text = unit(data, program=tmp_path).text().replace("User=nearcast", "User=root")
    file.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "nearcast-west-3" not in done.stderr, done.stderr
