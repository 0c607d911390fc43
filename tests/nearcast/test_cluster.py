"""Where appliances stand, and what a taken port or folder says."""

import socket
from pathlib import Path

import pytest

from nearcast.cluster import Cluster, plan_places
from nearcast.settings import ClusterSettings
from runtime.errors import Problem


def test_four_appliances_at_three_sites() -> None:
    places = plan_places(("north", "south", "west"), 4)
    assert [(p.appliance_id, p.site, p.host) for p in places] == [
        ("north-1", "north", "127.0.1.1"),
        ("north-2", "north", "127.0.1.2"),
        ("south-1", "south", "127.0.2.1"),
        ("west-1", "west", "127.0.3.1"),
    ]


@pytest.mark.parametrize("count", [1, 3, 7, 60])
def test_every_appliance_has_an_address_of_its_own(count: int) -> None:
    places = plan_places(("a", "b", "c"), count)
    assert len({p.host for p in places}) == len({p.appliance_id for p in places}) == count
    per_site = [sum(p.site == site for p in places) for site in "abc"]
    assert max(per_site) - min(per_site) <= 1


async def test_a_taken_port_is_said_and_nothing_is_left_running(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cluster = Cluster(tmp_path, 1, ClusterSettings(control_port=0, steering_port=port))
        with pytest.raises(Problem, match=str(port)) as problem:
            await cluster.start()
    assert problem.value.code == "port_in_use" and not (tmp_path / "run.json").exists()
