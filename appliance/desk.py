"""The keeper's end of the line to its workers (appliance/link.py has theirs, and the messages)."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from appliance.early_fills import EarlyFills
from appliance.fill import Fill, Fills
from appliance.home import Asker
from appliance.link import Line
from appliance.want import FileWant


class WorkerDesk:
    """The keeper's end: serves every worker that connects."""

    def __init__(
        self,
        fills: Fills,
        where: Callable[[str], str],
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
        self._where = where
        self._touch = touch

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one worker until it leaves."""
        watched: dict[int, tuple[Fill, Callable[[Fill], None]]] = {}  # by the worker's number
        line = Line(writer)
        try:
            async for raw in reader:
                message = json.loads(raw)
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
                    want, asker = FileWant(*message["want"]), Asker(message["asker"])
                    trace = message.get("trace", "")
                    self._bring(message["need"], want, asker, trace, line, watched)
                await writer.drain()
        except (ConnectionError, ValueError):
            pass
        finally:
            for fill, watcher in watched.values():
                if watcher in fill.watchers:
                    fill.watchers.remove(watcher)
            line.close()

    def _bring(
        self,
        number: int,
        want: FileWant,
        asker: Asker,
        trace: str,
        line: Line,
        watched: dict[int, tuple[Fill, Callable[[Fill], None]]],
    ) -> None:
        fill = self._fills.join(want, asker, trace=trace)
        self._early.used(want.key)

        def tell(fill: Fill) -> None:
            if fill.ended:
                watched.pop(number, None)
            elif line.is_behind:
                return  # the next word says as much, and more
            line.say({"id": number, **self._state(fill)})

        if fill.ended or fill.landing is not None:
            tell(fill)
        if not fill.ended:
            fill.watchers.append(tell)
            watched[number] = fill, tell

    def _state(self, fill: Fill) -> dict[str, Any]:
        if fill.held:
            return {"held": self._where(fill.want.key)}
        if fill.problem is not None:
            return {"failed": fill.problem.code, "retry_s": fill.problem.retry_after_s}
        assert fill.landing is not None
        return {"path": fill.landing.path, "size": fill.size, "landed": fill.landed}
