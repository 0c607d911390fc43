"""Rankings by all that steering knows at the moment, and their notes in the decision log."""

from dataclasses import replace

from media.fleet import RankAnswer
from media.places import Atlas, Ring
from media.rank import Asked, Limits, demoted, order, rank
from steering.decision_log import DecisionLog
from steering.decisions import Seen, decision_line
from steering.notices import NoticeDesk
from steering.roster import Fleet, RosterBook
from steering.throughput import ThroughputBook


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

    def order(self, asked: Asked, now_s: float) -> list[str]:
        """The ids alone, for a session that plays. It is noted when the session is to move, or has
        nowhere to go."""
        ids = order(asked, self._fleet(asked, now_s), self._rings(asked, now_s))
        goes = not ids or asked.current not in (None, ids[0])
        if goes and self._decisions.wanted:
            self.rank(asked, now_s)
        return ids

    def _fleet(self, asked: Asked, now_s: float) -> Fleet:
        limits = self._blind if self.roster.blind(now_s) else self._limits
        return Fleet(self.roster, asked.package_id, now_s, limits, self._notices.board.draining)

    def _rings(self, asked: Asked, now_s: float) -> tuple[Ring, ...]:
        sites = None if asked.only is None else self.roster.sites_of(asked.only)
        rings = self.atlas.rings(asked.place, sites)
        slow = self._paces.slow(asked.network, now_s)
        return demoted(rings, slow) if slow else rings
