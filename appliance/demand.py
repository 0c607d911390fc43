"""What viewers took, by rendition: counted by workers, summed by the keeper, told steering. Pure.

A worker's hit adds its bytes to the file's own word (`Listed.viewed`), and no more; four times a
second the worker takes together what was added, and hands it to the keeper with the files it has
touched. Bytes that went to other appliances are no demand: their viewers are counted there.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

from appliance.answers import Listed
from appliance.gate import Grant
from media.fleet import MAX_COUNT, MAX_SERVED, Demand, Served
from media.ids import RENDITION

# 0.3 KB each. An appliance holds tens of thousands of renditions, or fewer.
MAX_TALLIED = 100_000
_MAX_HELD_BACK = 10_000  # renditions, while the keeper does not listen; what is more is lost
_RENDITION, _LONGEST = re.compile(RENDITION), 40
_LINE = 1000  # renditions, of 80 bytes each


class Viewed:
    """What a worker's viewers took since the keeper last heard."""

    def __init__(self) -> None:
        self._apart: dict[Listed, None] = {}  # files that nobody touched: brought, or let go of
        self._sums: dict[tuple[str, str], int] = {}

    def add(self, listed: Listed, sent: int, grant: Grant) -> None:
        """So many bytes of the file were sent by an exchange of this grant's."""
        if sent and not grant.from_peer:
            listed.viewed += sent
            self._apart[listed] = None

    def gather(self, touched: Iterable[Listed]) -> None:
        """What was added to these files, and by `add`, is summed."""
        for listed in (*touched, *self._apart):
            sent, listed.viewed = listed.viewed, 0
            if not sent or listed.rendition_id is None:
                continue
            name = listed.want.package_id, listed.rendition_id
            if name in self._sums or len(self._sums) < _MAX_HELD_BACK:
                self._sums[name] = self._sums.get(name, 0) + sent
        self._apart.clear()

    def take(self) -> list[list[tuple[str, str, int]]]:
        """The sums in parts that fit on a line each; none are left."""
        told = [(*name, sent) for name, sent in self._sums.items()]
        self._sums.clear()
        return [told[start : start + _LINE] for start in range(0, len(told), _LINE)]


class _Figure:
    """Bytes of a rendition: since boot, and of those the ones that steering knows of."""

    __slots__ = ("known", "sent")

    def __init__(self) -> None:
        self.sent = self.known = 0


class DemandTally:
    """The keeper's sums since boot, of the `most` renditions that were sent last."""

    def __init__(self, boot_id: str, most: int = MAX_TALLIED) -> None:
        self._boot_id = boot_id
        self._most = most
        self._sequence = 0
        self._figures: OrderedDict[tuple[str, str], _Figure] = OrderedDict()
        self._changed: dict[tuple[str, str], None] = {}

    def served(self, part: Iterable[Sequence[Any]]) -> None:
        """A worker's viewers took this (`Viewed.take`)."""
        for package_id, rendition_id, sent in part:
            name = package_id, rendition_id
            if len(rendition_id) > _LONGEST or not _RENDITION.fullmatch(rendition_id):
                continue  # a folder of shared files may be called alike
            figure = self._figures.get(name)
            if figure is None:
                figure = self._figures[name] = _Figure()
            figure.sent = min(MAX_COUNT, figure.sent + sent)
            self._figures.move_to_end(name)
            self._changed[name] = None
            if len(self._figures) > self._most:
                gone, _ = self._figures.popitem(last=False)
                self._changed.pop(gone, None)

    def due(self) -> Demand | None:
        """The next message to steering, or None when it knows all. It is another one each time,
        whether the one before arrived or not."""
        if not self._changed:
            return None
        self._sequence += 1
        names = [name for name, _ in zip(self._changed, range(MAX_SERVED), strict=False)]
        served = tuple(
            Served(
                package_id=name[0],
                rendition_id=name[1],
                bytes=self._figures[name].sent,
                told=self._figures[name].known,
            )
            for name in names
        )
        return Demand(boot_id=self._boot_id, sequence=self._sequence, served=served)

    def taken(self, message: Demand) -> None:
        """Steering has taken the message; more may have been sent since it was made."""
        for told in message.served:
            name = told.package_id, told.rendition_id
            figure = self._figures.get(name)
            if figure is None or figure.sent < told.bytes:  # it was dropped, and began anew
                continue
            figure.known = told.bytes
            self._changed.pop(name, None)
            if figure.sent > told.bytes:
                self._changed[name] = None  # behind those that were not told at all
