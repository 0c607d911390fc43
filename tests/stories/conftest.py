"""One cluster for all stories that leave it as they found it, with one film published."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Running, make_clip, running_cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.story)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(120))


@pytest.fixture(scope="session")
def clips() -> Path | None:
    """The folder of real clips, if one is named: encoding them takes a while."""
    folder = os.environ.get("NEARCAST_CLIPS")
    return Path(folder) if folder else None


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="package")
def film(cluster: Running, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """A published title of twelve seconds, as `title show` tells it."""
    clip = make_clip(tmp_path_factory.mktemp("film") / "twelve.mp4")
    cluster.nearcast("upload", str(clip), "--title", "Twelve", "--wait")
    return cluster.nearcast("title", "show", "Twelve")
