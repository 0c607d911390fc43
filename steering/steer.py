"""What players ask: where to play from now. Every session asks every few minutes, all of them again
when something breaks, and each answer decides whether a film goes on; so this is kept short.
"""

import random
import time
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from aiohttp import web

from runtime.api import Call, problem_response
from runtime.errors import Problem
from runtime.express import Whole, head_of
from steering.contexts import Context, Contexts
from steering.doubts import Left
from steering.manifests import PlayerWord, manifest, player_word, priorities, ttl
from steering.metrics import Outcome, SteeringMetrics
from steering.ranker import Question, Ranker
from steering.settings import SteeringSettings
from steering.throughput import ThroughputBook

MANIFEST_TYPE = "application/vnd.apple.steering-list"  # players parse JSON whatever the type says
_PATH = "/steer/"
# Viewers kept, about 2 KB each. Only those with genuine tokens are, so nobody can crowd others out
# who was not given a session.
_REMEMBERED = 20_000


class Viewer(NamedTuple):
    """A session that plays, and what its viewer asks alike with others."""

    context: Context
    question: Question
    network: str


class SteerDesk:
    """Answers players."""

    def __init__(
        self,
        settings: SteeringSettings,
        ranker: Ranker,
        contexts: Contexts,
        paces: ThroughputBook,
        metrics: SteeringMetrics,
        *,
        now_s: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._prefix = ""
        self.stand_at(settings.public_url)
        self._settings = settings
        self._ranker = ranker
        self._contexts = contexts
        self.paces = paces
        self._metrics = metrics
        self._now_s = now_s
        self._chance = chance
        self._viewer = lru_cache(_REMEMBERED)(self._find_viewer)
        self._headers = {
            "Content-Type": MANIFEST_TYPE,
            "Cache-Control": "no-store",
            "Access-Control-Allow-Origin": settings.cors_origin,
        }
        self._head = head_of(self._headers)

    def stand_at(self, public_url: str) -> None:
        """This is where players find us."""
        self._prefix = f"{public_url.rstrip('/')}{_PATH}"

    def url(self, token: str) -> str:
        """Where the session with this token asks."""
        return self._prefix + token

    def express(self, request: web.BaseRequest) -> Whole | None:
        """The answer to a genuine question, before any router has looked at it."""
        target = request.raw_path
        if request.method != "GET" or not target.startswith(_PATH):
            return None
        token, _, raw_query = target[len(_PATH) :].partition("?")
        return Whole(self._head, self._answer(token, raw_query))

    async def steer(self, call: Call) -> web.Response:
        """Always 200 with a whole document, except for tokens that are not ours: those name no
        pathways to answer with."""
        try:
            body = self._answer(call.path["token"], call.request.rel_url.raw_query_string)
            return web.Response(body=body, headers=self._headers)
        except Problem as problem:
            return self._for_pages(problem_response(problem, call.request_id))

    async def allow_page(self, call: Call) -> web.Response:
        """Pages of other origins may ask."""
        response = web.Response(status=204)
        response.headers["Access-Control-Allow-Methods"] = "GET"
        response.headers["Access-Control-Allow-Headers"] = "*"
        response.headers["Access-Control-Max-Age"] = "86400"
        return self._for_pages(response)

    def _for_pages(self, response: web.Response) -> web.Response:
        response.headers["Access-Control-Allow-Origin"] = self._settings.cors_origin
        return response

    def _find_viewer(self, token: str) -> Viewer:
        context = self._contexts.read(token)
        atlas = self._ranker.atlas
        region = context.region if context.region in atlas.regions else None
        place = atlas.place(context.client, region)
        question = self._ranker.question(context.package_id, place, context.offered)
        return Viewer(context, question, atlas.network(context.client or ""))

    def _answer(self, token: str, raw_query: str) -> bytes:
        viewer, now_s = self._viewer(token), self._now_s()
        context = viewer.context
        word = player_word(raw_query, context.offered)
        self._learn(viewer, word, now_s)
        priority, outcome = self._priority(viewer, word.current, now_s)
        if word.current is not None and priority[0] != word.current:
            self._ranker.roster.assign(priority[0], context.session_id)
        self._metrics.steered(word.protocol, outcome)
        settings = self._settings
        ttl_s = ttl(settings.ttl_s, settings.ttl_jitter, self._chance())
        # What it is told now comes back with its next question, which shows whether it went there.
        return manifest(priority, ttl_s, f"{self.url(token)}?told={priority[0]}")

    def _learn(self, viewer: Viewer, word: PlayerWord, now_s: float) -> None:
        """What the player says of the network, and of an appliance that it was told to go to and is
        not at."""
        roster = self._ranker.roster
        current = roster.get(word.current) if word.current is not None else None
        if current is None:
            return
        context, network = viewer.context, viewer.network
        if word.throughput_bps is not None and network:
            self.paces.hear(network, current.report.site, word.throughput_bps, now_s)
        if word.told and word.told != word.current and word.told in context.offered:
            roster.doubts.hear(Left(word.told, context.session_id, network, now_s))

    def _priority(
        self, viewer: Viewer, current: str | None, now_s: float
    ) -> tuple[tuple[str, ...], Outcome]:
        """Those offered, best first."""
        context, ranker = viewer.context, self._ranker
        if context.expires_s <= now_s:
            return context.offered, "expired"  # its tokens open nothing: not worth a ranking
        if ranker.roster.waits_for(context.offered, now_s):
            return priorities((current,) if current else (), context.offered), "left"
        question, network = viewer.question, viewer.network
        return ranker.priority(question, current, context.session_id, network, now_s), "ranked"
