"""A relay before a service, which can be cut like a cable: nothing is closed, nothing arrives."""

import asyncio
from contextlib import suppress

_CHUNK_BYTES = 256 * 1024


class Relay:
    """Passes TCP connections on to `target` while it is whole."""

    def __init__(self, host: str, target: tuple[str, int]) -> None:
        self.url = ""
        self._host = host
        self._target = target
        self._whole = asyncio.Event()
        self._whole.set()
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Its address."""
        self._server = await asyncio.start_server(self._accept, self._host, 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.url = f"http://{host}:{port}"
        return self.url

    def cut(self) -> None:
        """From now on nothing gets through, in either direction."""
        self._whole.clear()

    def mend(self) -> None:
        """What was held back gets through, and what comes."""
        self._whole.set()

    async def stop(self) -> None:
        """No connection is left."""
        if self._server is not None:
            self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        there: asyncio.StreamWriter | None = None
        try:
            await self._whole.wait()
            back, there = await asyncio.open_connection(*self._target)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, there), name="relay to")
                both.create_task(self._pass(back, writer), name="relay from")
        except* OSError:
            pass  # one of them is gone, and so is the connection
        finally:
            self._passing.discard(task)
            for end in (writer, there):
                if end is not None:
                    with suppress(OSError):
                        end.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            await self._whole.wait()
            writer.write(data)
            await writer.drain()
        await self._whole.wait()
        writer.close()
