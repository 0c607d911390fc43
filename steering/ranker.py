"""Rankings by all that steering knows at the moment, and their notes in the decision log."""

from collections.abc import Sequence, Set
from dataclasses import replace
from typing import NamedTuple

from media.fleet import RankAnswer
from media.places import Atlas, Ring
from media.rank import Asked, Limits, Standing, demoted, order, personal, rank
from steering.decision_log import DecisionLog
from steering.decisions import Seen, decision_line
from steering.notices import NoticeDesk
from steering.roster import Fleet, RosterBook
from steering.throughput import ThroughputBook

_MOST_ANSWERS = 20_000  # kept, of about 1 KB


class Ranker:
    """Puts map, roster, drains and measured throughput together for `media.rank`."""

    def __init__(
        self,
        limits: Limits,
        atlas: Atlas,
        roster: RosterBook,
        notices: NoticeDesk,
        paces: ThroughputBook,
        decisions: DecisionLog,
    ) -> None:
        self.atlas = atlas
        self.roster = roster
        self._limits = limits
        self._blind = replace(limits, blind=True)
        self._notices = notices
        self._paces = paces
        self._decisions = decisions
        self._answers: dict[object, _Answer] = {}

    def rank(self, asked: Asked, now_s: float, *, thorough: bool = False) -> RankAnswer:
        """Pathways with reasons. One made for a session is noted."""
        fleet, rings = self._fleet(asked, now_s), self._rings(asked, now_s)
        if not (asked.session_id and self._decisions.wanted):
            return rank(asked, fleet, self.atlas, rings=rings, thorough=thorough)
        seen = Seen(fleet)
        answer = rank(asked, seen, self.atlas, rings=rings, thorough=thorough)
        slow, blind = self._paces.slow(asked.network, now_s), self.roster.blind(now_s)
        line = decision_line(now_s, asked, seen, answer, slow=slow, blind=blind)
        self._decisions.add(line, now_s)
        return answer

    def order(self, asked: Asked, now_s: float) -> tuple[str, ...]:
        """The ids alone, for a session that plays. It is noted when the session is to move, or has
        nowhere to go."""
        slow = self._paces.slow(asked.network, now_s)
        ids = None if slow else self._recalled(asked, now_s)
        if ids is None:
            rings = self._rings(asked, now_s)
            ids = order(asked, self._fleet(asked, now_s), rings)
            if not slow:
                self._remember(asked, rings, ids, now_s)
        if (not ids or asked.current not in (None, ids[0])) and self._decisions.wanted:
            self.rank(asked, now_s)
        return ids

    # Thousands who watch the same in the same place ask the same, and as long as it is made of the
    # same, the answer is the same.

    def _recalled(self, asked: Asked, now_s: float) -> tuple[str, ...] | None:
        """What somebody else was answered, if nothing that it was made of has changed."""
        known = self._answers.get(asked.impersonal)
        if known is None or known.held != self._held(asked):
            return None
        limits, draining = self._given(now_s)
        for site, standings in known.standings:
            if self.roster.standings(site, now_s, draining, limits) is not standings:
                return None
        return known.ids

    def _remember(
        self, asked: Asked, rings: Sequence[Ring], ids: tuple[str, ...], now_s: float
    ) -> None:
        limits, draining = self._given(now_s)
        found = tuple(
            (site, self.roster.standings(site, now_s, draining, limits))
            for _, sites in rings
            for site in sites
        )
        if any(personal(one) for _, standings in found for one in standings):
            return
        if len(self._answers) >= _MOST_ANSWERS:
            self._answers.clear()
        self._answers[asked.impersonal] = _Answer(ids, found, self._held(asked))

    def _held(self, asked: Asked) -> tuple[float | None, ...]:
        shares = self.roster.shelves.shares(asked.package_id)
        return tuple(map(shares.get, asked.only or ())) if shares else ()

    def _given(self, now_s: float) -> tuple[Limits, Set[str]]:
        limits = self._blind if self.roster.blind(now_s) else self._limits
        return limits, self._notices.board.draining

    def _fleet(self, asked: Asked, now_s: float) -> Fleet:
        return Fleet(self.roster, asked.package_id, now_s, *self._given(now_s))

    def _rings(self, asked: Asked, now_s: float) -> tuple[Ring, ...]:
        sites = None if asked.only is None else self.roster.sites_of(asked.only)
        rings = self.atlas.rings(asked.place, sites)
        slow = self._paces.slow(asked.network, now_s)
        return demoted(rings, slow) if slow else rings


class _Answer(NamedTuple):
    ids: tuple[str, ...]
    standings: tuple[tuple[str, tuple[Standing, ...]], ...]  # by site
    held: tuple[float | None, ...]
