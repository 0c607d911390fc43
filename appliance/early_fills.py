"""The keeper's early fills: what workers wish for is brought (appliance/early.py decides what and
how much), and what becomes of it is counted."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from appliance.board import Board
from appliance.early import REASONS, Budget, Reason
from appliance.fill import Fill, Fills
from appliance.shed import Priority, serves
from appliance.want import FileWant

_MAX_UNUSED = 10_000  # files whose use would be counted, 0.2 KB each; the oldest count as in vain


class EarlyFills:
    """Flights that nobody waits for. Who asks for a file that is on its way joins its flight."""

    def __init__(
        self, fills: Fills, board: Board, at_once: int, draining: Callable[[], bool]
    ) -> None:
        self.started: dict[str, int] = dict.fromkeys(REASONS, 0)
        self.bytes: dict[str, int] = dict.fromkeys(REASONS, 0)
        self.useful: dict[str, int] = dict.fromkeys(REASONS, 0)
        self._fills = fills
        self._board = board
        self._at_once = at_once
        self._draining = draining
        self._flying = 0
        self._unused: OrderedDict[str, tuple[Reason, int]] = OrderedDict()
        self._budget = Budget(fills.brought_bytes, time.monotonic())

    def hear(self, wishes: Iterable[Sequence[Any]]) -> None:
        """A worker's wishes (`early.Wish`), each as [reason, *want]. What there is no room for is
        forgotten: whoever wants it asks."""
        now_s = time.monotonic()
        for reason, *fields in wishes:
            want = FileWant(*fields)
            if self._flying >= self._at_once or self._is_busy(now_s):
                return
            if want.size is not None and not self._fills.brings(want.key):
                self._begin(reason, want, want.size, now_s)

    def _is_busy(self, now_s: float) -> bool:
        """Early fills are the first to be done without (appliance/shed.py)."""
        return (
            self._draining()
            or not serves(Priority.PREFETCH, self._board.pressure)
            or self._fills.store_away(now_s)
        )

    def _begin(self, reason: Reason, want: FileWant, size: int, now_s: float) -> None:
        if not self._budget.allows(size, self._fills.brought_bytes, now_s):
            return
        fill = self._fills.join(want)
        if fill.ended:  # it is held, or may not be
            return
        self._budget.begun(size)
        self.started[reason] += 1
        self._flying += 1
        self._unused[want.key] = reason, size
        if len(self._unused) > _MAX_UNUSED:
            self._unused.popitem(last=False)

        def ended(fill: Fill) -> None:
            if not fill.ended:
                return
            self._flying -= 1
            if fill.held:
                self.bytes[reason] += size
            else:
                self.lost(want.key)

        fill.watchers.append(ended)

    def used(self, key: str) -> None:
        """Someone asks for the file."""
        if (unused := self._unused.pop(key, None)) is not None:
            reason, size = unused
            self.useful[reason] += 1
            self._budget.used(size)

    def lost(self, key: str) -> None:
        """The file is not held any more."""
        self._unused.pop(key, None)
