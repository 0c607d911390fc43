"""Rankings by all that steering knows at the moment, and their notes in the decision log."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace
from functools import lru_cache

from media.fleet import RankAnswer
from media.places import Atlas, Place, Ring
from media.rank import LAST_RESORT, Asked, Limits, Standing, demoted, order, personal, rank
from steering.decision_log import DecisionLog
from steering.decisions import Seen, decision_line
from steering.manifests import priorities
from steering.notices import NoticeDesk
from steering.roster import Fleet, RosterBook
from steering.throughput import ThroughputBook

_MOST_QUESTIONS = 20_000  # shared, each with an answer or two of about 1 KB


@dataclass(slots=True, eq=False)
class Question:
    """What thousands who watch the same in the same place ask alike: where to play this package, of
    those `offered`. With the answers that it had, by where they play who asked."""

    package_id: str
    place: Place
    offered: tuple[str, ...]
    answers: "dict[str | None, _Answer]" = field(default_factory=dict)

    def asked(self, current: str | None, starving: bool, session_id: str, network: str) -> Asked:
        """The question of one of them."""
        return Asked(
            self.package_id,
            self.place,
            len(self.offered),
            current,
            starving,
            self.offered,
            session_id,
            network,
        )


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
        self.question = lru_cache(_MOST_QUESTIONS)(Question)

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

    def priority(
        self,
        question: Question,
        current: str | None,
        session_id: str,
        network: str,
        now_s: float,
    ) -> tuple[str, ...]:
        """Those offered to a session that plays, the fit ones first, best first. It is noted when
        the session is to move, or has nowhere to go."""
        starving = self.roster.starves(session_id, question.offered)
        alike = not (starving or self._paces.slow(network, now_s))
        answer = question.answers.get(current) if alike else None
        if answer is None or not self._holds(answer, question, now_s):
            answer = self._answer(question.asked(current, starving, session_id, network), now_s)
            if alike and not answer.personal:
                question.answers[current] = answer
        if answer.moves and self._decisions.wanted:
            self.rank(question.asked(current, starving, session_id, network), now_s)
        return answer.priority

    def _answer(self, asked: Asked, now_s: float) -> "_Answer":
        rings, fleet = self._rings(asked, now_s), self._fleet(asked, now_s)
        ids = order(asked, fleet, rings)
        sites = {site: fleet.at(site) for _, sites in rings for site in sites}
        assert asked.only is not None
        return _Answer(
            # Where the last resort was offered, it comes before those that are unfit.
            priority=priorities((*ids, LAST_RESORT), asked.only),
            moves=not ids or asked.current not in (None, ids[0]),
            personal=any(personal(one) for standings in sites.values() for one in standings),
            edition=self.roster.edition(now_s),
            seen=self.roster.seen(sites),
            draining=self._notices.board.draining,
            sites=sites,
            known=self._known(asked.package_id, asked.only),
        )

    def _holds(self, answer: "_Answer", question: Question, now_s: float) -> bool:
        """Nothing that the answer was made of has changed."""
        edition, (since_s, until_s) = self.roster.edition(now_s), answer.seen
        if (
            answer.edition == edition
            and since_s <= now_s < until_s
            and answer.draining is self._notices.board.draining
        ):
            return True
        limits, draining = self._given(now_s)
        if answer.known != self._known(question.package_id, question.offered):
            return False
        for site, standings in answer.sites.items():
            if self.roster.standings(site, now_s, draining, limits) is not standings:
                return False
        answer.edition, answer.seen, answer.draining = (
            edition,
            self.roster.seen(answer.sites),
            draining,
        )
        return True

    def _known(self, package_id: str, offered: Sequence[str]) -> "_Known":
        shares = self.roster.shelves.shares(package_id)
        held = tuple(map(shares.get, offered)) if shares else ()
        return self.roster.sites_of(offered), held

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


_Known = tuple[tuple[str, ...], tuple[float | None, ...]]
"""Where those offered stand, and the share of the package that each holds."""


@dataclass(slots=True, eq=False)
class _Answer:
    """It holds as long as all of this is as it was. `moves`: who asked is to play elsewhere.
    `personal`: another may be answered otherwise."""

    priority: tuple[str, ...]
    moves: bool
    personal: bool
    edition: int
    seen: tuple[float, float]
    draining: Set[str]
    sites: dict[str, tuple[Standing, ...]]
    known: _Known
