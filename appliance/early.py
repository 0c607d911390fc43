"""Early fills: which files are brought before anyone asks for them. Pure.

A worker knows what its sessions may have, and says what they will want next (`Ahead`):

    said   what the player names itself (`nor` of CMCD), whether this file was held or not
    next   if it names nothing: the segment after one that had to be brought, and after one that was
           expected so and is used now

The keeper brings it (appliance/early_fills.py) as far as there is room for what may turn out to be
in vain (`Budget`).
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, get_args

from appliance.gate import Grant
from appliance.want import FileWant
from media import cmcd
from media.inventory import segment_after

Reason = Literal["said", "next"]
REASONS: tuple[Reason, ...] = get_args(Reason)

# Of a worker between two ticks; each costs some 40 µs to read, so 2 ms at most. That many segments
# are 1 Gbit/s or so, and a player whose words are not read names its next file again.
MAX_HEARD = 50
# At once; the keeper has room for a few (`early_fills`), and the line to it for 256 KiB.
MAX_WISHES = 64
# Files that sessions are expected to use, 0.5 KB each: one for each session that is served misses.
MAX_EXPECTED = 4_096

# Bytes that nobody has asked for yet are forgotten over about this long: players buffer half a
# minute, and what they have not asked for in twice that they have left.
WINDOW_S = 60.0
SHARE = 0.25  # of the bytes brought in that time may be such
# That much always: eight segments of a high rung, so that a quiet appliance begins at all.
FLOOR_BYTES = 32 * 1024 * 1024


class Wish(NamedTuple):
    """A file that a session will want, and why we think so."""

    reason: Reason
    want: FileWant


class Ahead:
    """What the sessions of one worker will want next."""

    def __init__(self, find: Callable[[Grant, str], FileWant | None], *, on: bool) -> None:
        """`find` gives what the session may have at a path of its package (`Gate.find`). If not
        `on`, nothing is ever wished for."""
        self._find = find
        self._on = on
        self._heard: list[tuple[Grant, str, bytes]] = []
        self._missed: dict[str, tuple[Grant, str]] = {}
        self._expected: OrderedDict[str, tuple[Grant, str]] = OrderedDict()

    def heard(self, grant: Grant, want: FileWant, said: bytes) -> None:
        """The session's player said this (`cmcd.raw`) when it asked for the file."""
        if b"nor" in said and self._on and len(self._heard) < MAX_HEARD:
            self._heard.append((grant, want.path, said))

    def missed(self, grant: Grant, want: FileWant, said: bytes) -> None:
        """The file has to be brought for the session, whose player said this, or b""."""
        self._expected.pop(want.key, None)
        if b"nor" in said:
            self.heard(grant, want, said)
        elif self._on and len(self._missed) < MAX_WISHES:
            self._missed[want.key] = grant, want.path

    def wishes(self, used: Mapping[str, object]) -> list[Wish]:
        """What is to be wished for since the last time, when the files of these keys were `used`
        since. At most MAX_WISHES; the rest is forgotten."""
        found: dict[str, Wish] = {}
        for grant, path, said in self._heard:
            for following in named(path, said):
                self._add(found, "said", grant, following)
        silent = [*self._missed.values()]
        silent += [self._expected.pop(key) for key in self._expected.keys() & used.keys()]
        for grant, path in silent:
            self._add(found, "next", grant, segment_after(path))
        self._heard.clear()
        self._missed.clear()
        return list(found.values())

    def _add(self, found: dict[str, Wish], reason: Reason, grant: Grant, path: str | None) -> None:
        """Not for another appliance: it wishes for its own sessions."""
        if path is None or grant.from_peer or len(found) >= MAX_WISHES:
            return
        want = self._find(grant, path)
        if want is None:
            return
        found.setdefault(want.key, Wish(reason, want))
        if reason == "next":
            self._expected[want.key] = grant, path
            if len(self._expected) > MAX_EXPECTED:
                self._expected.popitem(last=False)


def named(path: str, said: bytes) -> tuple[str, ...]:
    """The paths of the package that a player says it wants after `path`. The inventory knows
    whether they exist, and the token whether it may have them."""
    words = cmcd.read(said)
    if words is None:
        return ()
    found = (cmcd.resolve(path, one) for one in words.next_paths)
    return tuple(dict.fromkeys(one for one in found if one is not None))


class Budget:
    """Bounds the bytes that were brought early and not asked for since, by the bytes brought for
    whatever reason. Both fade over WINDOW_S; times are monotonic seconds."""

    def __init__(self, brought_bytes: int, now_s: float) -> None:
        """`brought_bytes` is cumulative."""
        self._told_bytes = brought_bytes
        self._now_s = now_s
        self._brought_bytes = 0.0
        self._unused_bytes = 0.0

    def allows(self, size: int, brought_bytes: int, now_s: float) -> bool:
        """A file of this size may be brought early."""
        fades = math.exp((self._now_s - now_s) / WINDOW_S)
        self._now_s = now_s
        self._unused_bytes *= fades
        self._brought_bytes = self._brought_bytes * fades + brought_bytes - self._told_bytes
        self._told_bytes = brought_bytes
        return self._unused_bytes + size <= FLOOR_BYTES + SHARE * self._brought_bytes

    def begun(self, size: int) -> None:
        """It is being brought."""
        self._unused_bytes += size

    def used(self, size: int) -> None:
        """Someone has asked for it."""
        self._unused_bytes = max(0.0, self._unused_bytes - size)
