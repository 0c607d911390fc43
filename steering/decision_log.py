"""Writes the decision log: lines gather in memory and go to a file once a second, which is turned
over when it is large. A disk that is full loses lines, never an answer."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path

from runtime.log import logger

_EVERY_S = 1.0
_FLEET_S = 30.0  # between two lines of the whole fleet
_MOST_WAITING_BYTES = 8 * 1024**2
_FILES = 4


class DecisionLog:
    """One folder of files: `decisions.jsonl`, and older ones `.1`, `.2`, `.3`."""

    def __init__(
        self,
        path: Path,
        max_bytes: int,
        head: Callable[[], str],
        fleet: Callable[[float], str],
    ) -> None:
        """At most `max_bytes` in all; 0: nothing is written. `head` begins a file, and `fleet`
        comes now and then."""
        self.lost = 0
        self._path = path
        self._most = max_bytes // _FILES
        self._head = head
        self._fleet = fleet
        self._fleet_s = -math.inf
        self._waiting: list[str] = []
        self._waiting_bytes = 0
        self._begun = False

    @property
    def wanted(self) -> bool:
        """Somebody wants to have it."""
        return self._most > 0

    def add(self, line: str, now_s: float) -> None:
        """The line will be written."""
        if self._waiting_bytes > _MOST_WAITING_BYTES:
            self.lost += 1
            return
        if not 0 <= now_s - self._fleet_s < _FLEET_S:
            self._fleet_s = now_s
            self._put(self._fleet(now_s))
        self._put(line)

    async def run(self) -> None:
        """Writes for ever."""
        while self.wanted:
            await asyncio.sleep(_EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Everything that was added is in the file, if it could be written."""
        lines, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if not lines:
            return
        try:
            await asyncio.to_thread(self._write, lines)
        except OSError as error:
            self.lost += len(lines)
            logger().warning("decisions_not_written", why=str(error), lines=len(lines))

    def _put(self, line: str) -> None:
        self._waiting.append(line)
        self._waiting_bytes += len(line)

    def _write(self, lines: list[str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        size = self._path.stat().st_size if self._path.exists() else 0
        if size > self._most:
            self._turn_over()
            size = 0
        if size == 0 or not self._begun:
            self._begun = True
            lines = [self._head(), *lines]
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def _turn_over(self) -> None:
        for number in range(_FILES - 1, 0, -1):
            older = self._path if number == 1 else Path(f"{self._path}.{number - 1}")
            if older.exists():
                older.replace(f"{self._path}.{number}")
