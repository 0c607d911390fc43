"""The homes of packages (media/homes.py), remembered: they are the same in plan after plan, and to
find them takes half of a planning's time."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from media.rank import chances
from steering.planner import Ints

_UNKNOWN = -1
_MOST_GONE = 2  # times as many packages as there are


class HomeBook:
    """Two bytes for each package and group that was asked about."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}  # of packages
        self._homes: dict[tuple[tuple[str, int], ...], NDArray[np.int16]] = {}

    def forget(self, packages: int, groups: int) -> None:
        """There are so many now; when most of what is remembered is gone, nothing is."""
        if len(self._rows) > _MOST_GONE * packages or len(self._homes) > _MOST_GONE * groups:
            self._rows.clear()
            self._homes.clear()

    def of(self, package_ids: Sequence[str], members: Mapping[str, int]) -> Ints:
        """The number, in the order of their names, of the member that is each package's home."""
        group = tuple(sorted(members.items()))
        rows = np.array([self._rows.setdefault(one, len(self._rows)) for one in package_ids])
        known = self._homes.get(group, np.zeros(0, np.int16))
        more = len(self._rows) - len(known)
        known = self._homes[group] = np.append(known, np.full(more, _UNKNOWN, np.int16))
        unknown = np.flatnonzero(known[rows] == _UNKNOWN)
        known[rows[unknown]] = _homes([package_ids[at] for at in unknown.tolist()], group)
        found: Ints = known[rows].astype(np.int64)
        return found


def _homes(package_ids: Sequence[str], group: Sequence[tuple[str, int]]) -> Ints:
    """`home_of` each of these packages, as a number in the group, which is in order."""
    costs = [
        np.log((np.frombuffer(chances(package_ids, name), ">u8") + 0.5) / 2**64) / -weight
        for name, weight in group
    ]
    homes: Ints = np.argmin(costs, axis=0)
    return homes
