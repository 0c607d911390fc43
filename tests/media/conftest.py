"""The client of fills is tested on both loops: each has a BufferedProtocol of its own."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

Loops = dict[str, Callable[[], asyncio.AbstractEventLoop]]


def pytest_asyncio_loop_factories(item: pytest.Item) -> Loops:
    loops: Loops = {"asyncio": asyncio.new_event_loop}
    if item.path.name == "test_http_get.py":
        loops["uvloop"] = uvloop.new_event_loop
    return loops
