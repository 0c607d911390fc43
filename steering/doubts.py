"""Which appliances players leave by themselves. Pure.

A player that asks where to play from says where it is. When that is not where it was last sent, it
has left: its requests failed there. A few such words can be lies, or one bad network; so they count
from LEAST_SESSIONS sessions in LEAST_NETWORKS networks on, each session once, and even then an
appliance only goes behind its siblings, until a probe of our own finds that it does not answer.
Players can never promote anybody.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

LEAST_SESSIONS = 5
LEAST_NETWORKS = 2
WINDOW_S = 60.0  # words that are older count no more
PROBE_S = 5.0  # between two probes of one appliance
# A player keeps away from where it failed for five minutes: it is not asked to say so again.
_REMEMBERED_S = 600.0
_MOST_SESSIONS = 256  # per appliance: far more than it takes
_MOST_APPLIANCES = 10_000

Doubt = Literal["", "suspected", "failing"]


class Left(NamedTuple):
    """A session left an appliance."""

    appliance_id: str
    session_id: str
    network: str
    at_s: float


@dataclass
class _Case:
    """What is known of one appliance."""

    left: OrderedDict[str, Left] = field(default_factory=OrderedDict)  # by session
    probed_s: float | None = None
    failing: bool = False


class Doubts:
    """All appliances that players left lately."""

    def __init__(self) -> None:
        self._cases: OrderedDict[str, _Case] = OrderedDict()

    def hear(self, left: Left) -> None:
        """The word counts, if it is the session's first for this appliance."""
        case = self._cases.get(left.appliance_id)
        if case is None:
            case = self._cases[left.appliance_id] = _Case()
            if len(self._cases) > _MOST_APPLIANCES:
                self._cases.popitem(last=False)
        known = case.left.get(left.session_id)
        if known is not None and 0 <= left.at_s - known.at_s < _REMEMBERED_S:
            return
        case.left[left.session_id] = left
        if len(case.left) > _MOST_SESSIONS:
            case.left.popitem(last=False)

    def words(self, now_s: float) -> list[Left]:
        """What still counts, for others to hear."""
        return [
            left
            for case in self._cases.values()
            for left in case.left.values()
            if now_s - left.at_s < WINDOW_S
        ]

    def hear_all(self, words: Iterable[Left]) -> None:
        """What others have heard counts, too."""
        for left in words:
            self.hear(left)

    def doubt(self, appliance_id: str, now_s: float) -> Doubt:
        """What is thought of the appliance."""
        case = self._cases.get(appliance_id)
        if case is None:
            return ""
        if case.failing:
            return "failing"
        return "suspected" if _suspected(case, now_s) else ""

    def due(self, now_s: float) -> list[str]:
        """Whom to probe now."""
        return [
            appliance_id
            for appliance_id, case in self._cases.items()
            if (case.failing or _suspected(case, now_s))
            and (case.probed_s is None or not 0 <= now_s - case.probed_s < PROBE_S)
        ]

    def probed(self, appliance_id: str, answers: bool, now_s: float) -> None:
        """A probe has ended. One that failed and answers again is trusted again."""
        case = self._cases.get(appliance_id)
        if case is None:
            return
        case.probed_s = now_s
        if case.failing and answers:
            case.left.clear()
        case.failing = not answers


def _suspected(case: _Case, now_s: float) -> bool:
    late = [left for left in case.left.values() if 0 <= now_s - left.at_s < WINDOW_S]
    return len(late) >= LEAST_SESSIONS and len({left.network for left in late}) >= LEAST_NETWORKS
