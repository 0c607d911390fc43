"""The keeper's end of the line to its workers (appliance/link.py has theirs, and the messages)."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.early_fills import EarlyFills
from appliance.fill import Fill, Fills
from appliance.home import Asker
from appliance.link import is_behind, say
from appliance.want import FileWant


class WorkerDesk:
    """The keeper's end: serves every worker that connects."""

    def __init__(
        self,
        fills: Fills,
        place: Callable[[str], Path],
        touch: Callable[[str], None],
        early: EarlyFills,
        hear: Callable[[list[list[str]]], object] = lambda notes: None,
        hear_answers: Callable[[list[list[object]]], object] = lambda answers: None,
        served: Callable[[list[list[Any]]], object] = lambda part: None,
    ) -> None:
        self._served = served
        self._hear = hear
        self._hear_answers = hear_answers
        self._early = early
        self._fills = fills
        self._place = place
        self._touch = touch

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one worker until it leaves."""
        watched: list[tuple[Fill, Callable[[Fill], None]]] = []
        try:
            async for line in reader:
                message = json.loads(line)
                for key in message.get("touch", ()):
                    self._touch(key)
                    self._early.used(key)
                if "players" in message:
                    self._hear(message["players"])
                if "answers" in message:
                    self._hear_answers(message["answers"])
                if "served" in message:
                    self._served(message["served"])
                if "early" in message:
                    self._early.hear(message["early"])
                if "need" in message:
                    watched = [pair for pair in watched if not pair[0].ended]
                    want, asker = FileWant(*message["want"]), Asker(message["asker"])
                    trace = message.get("trace", "")
                    watched += self._bring(message["need"], want, asker, trace, writer)
                await writer.drain()
        except (ConnectionError, ValueError):
            pass
        finally:
            for fill, watcher in watched:
                if watcher in fill.watchers:
                    fill.watchers.remove(watcher)
            writer.close()

    def _bring(
        self,
        number: int,
        want: FileWant,
        asker: Asker,
        trace: str,
        writer: asyncio.StreamWriter,
    ) -> list[tuple[Fill, Callable[[Fill], None]]]:
        fill = self._fills.join(want, asker, trace=trace)
        self._early.used(want.key)

        def tell(fill: Fill) -> None:
            if not fill.ended and is_behind(writer):
                return  # the next word says as much, and more
            say(writer, {"id": number, **self._state(fill)})

        if fill.ended or fill.landing is not None:
            tell(fill)
        if fill.ended:
            return []
        fill.watchers.append(tell)
        return [(fill, tell)]

    def _state(self, fill: Fill) -> dict[str, Any]:
        if fill.held:
            return {"held": str(self._place(fill.want.key))}
        if fill.problem is not None:
            return {"failed": fill.problem.code, "retry_s": fill.problem.retry_after_s}
        assert fill.landing is not None
        return {"path": fill.landing.path, "size": fill.size, "landed": fill.landed}
