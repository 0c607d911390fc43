"""What several workers (`pytest -n 3`) do when.

A file's tests stay together, for what they share, and so do all stories on the one cluster. These
take longest and begin first, their browser last.
"""

import pytest
from xdist.scheduler import LoadScopeScheduling

ON_THE_CLUSTER = tuple(
    f"tests/stories/{name}.py"
    for name in ("test_bad_input", "test_fleet", "test_play", "test_browser")
)


class ByFile(LoadScopeScheduling):
    """Hands out whole files, in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "the cluster" if file in ON_THE_CLUSTER else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    config.option.loadscopereorder = False  # it would put the files of the fewest tests last
    return ByFile(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=begins)


def begins(item: pytest.Item) -> int:
    file = item.nodeid.partition("::")[0]
    return ON_THE_CLUSTER.index(file) if file in ON_THE_CLUSTER else len(ON_THE_CLUSTER)
