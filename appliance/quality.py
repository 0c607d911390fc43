"""How sessions play, by their players' own words (CMCD), one session beside the other. Pure.

Workers only take notes: a note is the session of the verified token (not the `sid`, which a player
may choose), the file asked for, and the player's words unread. A few times a second they send them
to the keeper, whose `QualityBook` reads them, so a hit pays under a microsecond for it.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from appliance.answers import Listed
from appliance.gate import Grant
from media import cmcd
from media.cmcd import Cmcd
from media.fleet import MAX_STARVED, Quality, StarvedSession

# About 1 KB each; an appliance at 1 Gbit/s serves a few hundred at a time.
MAX_SESSIONS = 10_000
# Of a worker between two ticks: 2,000 a second, which cost the keeper 5 % of a core. That many
# segments are 8 Gbit/s or so; what players say beyond is sampled.
MAX_NOTES = 500
MAX_NOTE_BYTES = 256 * 1024
# The line to the keeper takes 256 KiB at once (link.MAX_LINE_BYTES), and a byte may take six
# characters of JSON.
MAX_LINE_NOTES_BYTES = 32 * 1024
_OVERHEAD_BYTES = 200  # of a note: session, path, quotes
_LATELY_S = 300.0  # a session not heard for this long has ended, and starves no more

_PICTURE_TYPES = ("v", "av", "a", "")


class Notes:
    """A worker's notes since its last tick, bounded; what does not fit is counted in `lost`."""

    def __init__(self) -> None:
        self.lost = 0
        self._room_bytes = MAX_NOTE_BYTES
        self._taken: list[tuple[Grant, Listed, bytes]] = []

    def __iter__(self) -> Iterator[tuple[Grant, Listed, bytes]]:
        """As they were added."""
        return iter(self._taken)

    def add(self, grant: Grant, listed: Listed, raw: bytes) -> None:
        """The session's player said this (`cmcd.raw`) when it asked for the file."""
        self._room_bytes -= len(raw)
        if self._room_bytes < 0 or len(self._taken) >= MAX_NOTES:
            self.lost += 1
            return
        self._taken.append((grant, listed, raw))

    def take(self) -> list[list[tuple[str, str, str]]]:
        """The notes in parts that fit on a line each, as JSON takes them; none are left."""
        parts: list[list[tuple[str, str, str]]] = []
        room = 0
        for grant, listed, raw in self._taken:
            size = len(raw) + _OVERHEAD_BYTES
            if size > room or not parts:
                parts.append([])
                room = MAX_LINE_NOTES_BYTES
            parts[-1].append((grant.claims.session_id, listed.key, raw.decode("latin-1")))
            room -= size
        self._taken.clear()
        self._room_bytes = MAX_NOTE_BYTES
        return parts


class Heard(NamedTuple):
    """A note that was read. `path` is the file's in its package."""

    session_id: str
    package_id: str
    path: str
    said: Cmcd


def read(notes: Iterable[Sequence[str]]) -> list[Heard]:
    """The notes of a worker that make sense, in their order."""
    heard = []
    for session_id, key, raw in notes:
        said = cmcd.read(raw.encode("latin-1", "replace"))
        if said is not None:
            package_id, _, path = key.partition("/")
            heard.append(Heard(session_id, package_id, path, said))
    return heard


@dataclass(slots=True)
class SessionQuality:
    """One session, by its player's words. Times are Unix seconds; `requests` are those that said
    something, `startup_ms` is known once it plays."""

    session_id: str
    package_id: str
    began_s: float
    heard_s: float
    requests: int = 0
    starved: int = 0
    starved_ms: int = 0
    startup_ms: int | None = None
    buffer_ms: int | None = None
    throughput_kbps: int | None = None
    wanted_kbps: int | None = None
    bitrate_kbps: int | None = None
    top_bitrate_kbps: int | None = None
    streaming_format: str = ""
    object_types: dict[str, int] = field(default_factory=dict)


class QualityBook:
    """The sessions heard last, at most `most`, and sums over all of them since boot."""

    def __init__(self, most: int = MAX_SESSIONS) -> None:
        self._most = most
        self._sessions: OrderedDict[str, SessionQuality] = OrderedDict()
        self._sums = dict.fromkeys(Quality.model_fields, 0)

    def hear(self, heard: Heard, now_s: float) -> None:
        """The note counts, as of Unix time `now_s`."""
        session = self._sessions.get(heard.session_id)
        if session is None:
            session = SessionQuality(heard.session_id, heard.package_id, now_s, now_s)
            self._sessions[heard.session_id] = session
            self._sums["sessions"] += 1
            if len(self._sessions) > self._most:
                self._sessions.popitem(last=False)
        else:
            self._sessions.move_to_end(heard.session_id)
        self._take(session, heard.said, now_s)

    def _take(self, session: SessionQuality, said: Cmcd, now_s: float) -> None:
        sums = self._sums
        session.heard_s = now_s
        session.requests += 1
        sums["requests"] += 1
        if said.starved:
            sums["starved_requests"] += 1
            sums["starved_sessions"] += session.starved == 0
            session.starved += 1
        session.starved_ms += said.starved_ms or 0
        if session.startup_ms is None:
            session.startup_ms = _startup_ms(session, said, now_s)
            if session.startup_ms is not None:
                sums["startups"] += 1
                sums["startup_ms"] += session.startup_ms
        if said.buffer_ms is not None:
            session.buffer_ms = said.buffer_ms
            sums["buffers"] += 1
            sums["buffer_ms"] += said.buffer_ms
        if said.throughput_kbps is not None:
            session.throughput_kbps = said.throughput_kbps
            sums["throughputs"] += 1
            sums["throughput_kbps"] += said.throughput_kbps
        if said.wanted_kbps is not None:
            session.wanted_kbps = said.wanted_kbps
        if said.top_bitrate_kbps is not None and said.object_type != "a":
            session.top_bitrate_kbps = said.top_bitrate_kbps
        if said.bitrate_kbps is not None and said.object_type != "a":
            session.bitrate_kbps = said.bitrate_kbps
        session.streaming_format = said.streaming_format or session.streaming_format
        if said.object_type:
            kind = said.object_type if said.object_type in _KNOWN_TYPES else "o"
            session.object_types[kind] = session.object_types.get(kind, 0) + 1

    @property
    def totals(self) -> Quality:
        """The sums, for the report."""
        return Quality.model_validate(self._sums)

    def __len__(self) -> int:
        return len(self._sessions)

    def sessions(self, count: int) -> list[SessionQuality]:
        """The sessions heard last, the latest first, at most `count`."""
        latest = reversed(self._sessions.values())
        return [session for session, _ in zip(latest, range(count), strict=False)]

    def most_starved(self, now_s: float, count: int = MAX_STARVED) -> tuple[StarvedSession, ...]:
        """Of those heard in the last minutes the ones that starved most, worst first."""
        bad = [
            session
            for session in self._sessions.values()
            if session.starved and now_s - session.heard_s < _LATELY_S
        ]
        bad.sort(key=lambda one: (-one.starved, one.requests, one.session_id))
        return tuple(
            StarvedSession(session_id=one.session_id, starved=one.starved, requests=one.requests)
            for one in bad[:count]
        )


_KNOWN_TYPES = frozenset(("m", "a", "v", "av", "i", "c", "tt", "k", "o"))


def _startup_ms(session: SessionQuality, said: Cmcd, now_s: float) -> int | None:
    """Players of version 2 say how long it took. The others mark what they need to start (`su`):
    the first picture or sound asked for without it comes once it plays. That is exact to a
    worker's tick. None while it is not known."""
    if said.startup_ms is not None:
        return said.startup_ms
    if said.startup or session.requests == 1 or said.object_type not in _PICTURE_TYPES:
        return None
    return round((now_s - session.began_s) * 1000)
