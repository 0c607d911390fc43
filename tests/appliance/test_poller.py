"""The poller: who is written to when there is more to write than a turn has time for."""

import asyncio
import socket
import time
from collections import Counter
from contextlib import ExitStack

from appliance.poller import _WRITING_S, Poller


async def test_those_who_had_no_turn_are_written_to_before_those_who_had_one() -> None:
    poller, turns = Poller(asyncio.get_running_loop()), Counter[int]()
    with ExitStack() as open_ones:

        def write(number: int) -> None:
            turns[number] += 1
            until = time.monotonic() + _WRITING_S / 2
            while time.monotonic() < until:
                pass

        for _ in range(8):
            ours, theirs = socket.socketpair()
            open_ones.enter_context(ours)
            open_ones.enter_context(theirs)
            number = ours.fileno()
            poller.add_writer(number, lambda number=number: write(number))  # type: ignore[misc]
        served = 0
        for _ in range(40):
            poller._turn()
            assert sum(turns.values()) > served
            served = sum(turns.values())
            assert len(turns) == min(served, 8)
            assert max(turns.values()) - min(turns.values()) <= 1
        poller.close()
