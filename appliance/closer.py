"""Lets go of files where nobody waits for it.

Whoever closes the last descriptor of a deleted file has its bytes freed: a millisecond for 4 MB, a
tenth of a second for a full log. The loop of a worker has no such time, so a thread does it.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from appliance.open_file import OpenFile


class Closer:
    """One thread, so that files are closed in the order in which they were given up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = ThreadPoolExecutor(1, "close")
        self._under_way = 0

    def let_go(self, files: list[OpenFile], then: Callable[[], None]) -> None:
        """Empties the list. `then` is called when nobody but a running answer has these files or
        earlier ones open: at once, if there are none."""
        if not files and not self._under_way:
            then()
            return
        self._under_way += 1

        def on_closed(_: object) -> None:
            self._under_way -= 1
            then()

        self._loop.run_in_executor(self._thread, files.clear).add_done_callback(on_closed)

    def close(self, descriptor: int) -> None:
        """The descriptor is closed soon."""
        self._thread.submit(os.close, descriptor)

    def end(self) -> None:
        """All are closed."""
        self._thread.shutdown()
