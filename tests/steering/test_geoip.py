"""Viewers whose network no site serves, placed by a MaxMind database."""

from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from media.places import Place
from runtime.errors import Problem
from steering.geoip import open_locator
from tests.steering_fleet import IN_N1, REGIONS, SITES
from tests.steering_service import ControlPlane, running

MADRID, DUBLIN = (40.4, -3.7), (53.3, -6.2)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """As GeoLite2-City has it, and a record that is wrong."""
    writer = MMDBWriter(4, "GeoLite2-City", languages=["en"], float_type="f64")
    for network, (latitude, longitude) in {
        "203.0.114.0/24": MADRID,
        "198.18.0.0/15": DUBLIN,
        "192.0.0.0/24": (999.0, 0.0),
    }.items():
        where = {"latitude": latitude, "longitude": longitude}
        writer.insert_network(IPSet([network]), {"location": where})
    writer.insert_network(IPSet(["192.88.99.0/24"]), {"country": "nowhere"})
    path = tmp_path / "places.mmdb"
    writer.to_db_file(str(path))
    return path


@pytest.mark.parametrize(
    ("address", "point"),
    [
        ("203.0.114.7", MADRID),
        ("198.19.255.255", DUBLIN),
        ("203.0.115.1", None),
        ("192.0.0.1", None),
        ("192.88.99.1", None),
        ("2001:db8::1", None),
        ("nobody", None),
    ],
)
def test_where_addresses_are(
    database: Path, address: str, point: tuple[float, float] | None
) -> None:
    assert open_locator(str(database))(address) == point


async def test_steering_places_viewers_by_it(
    database: Path, tmp_path: Path, control: ControlPlane
) -> None:
    places = {
        "regions": [region.model_dump() for region in REGIONS],
        "sites": [site.model_dump() for site in SITES],
    }
    async with running(tmp_path, control, geoip_file=str(database), **places) as fleet:
        for client, region in (("203.0.114.7", "south"), ("198.18.0.1", "west"), (IN_N1, "north")):
            assert (await fleet.rank(client=client)).region == region
        assert (await fleet.rank(client="203.0.115.1")).region == Place("north", None).region


@pytest.mark.parametrize("content", [None, b"", b"no database" * 100])
def test_what_is_no_database_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bad.mmdb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Problem, match="geoip_file") as refused:
        open_locator(str(path))
    assert refused.value.code == "bad_settings"
