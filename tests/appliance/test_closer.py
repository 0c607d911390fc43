"""Files are closed elsewhere, and nobody is told so before."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from appliance.closer import Closer
from appliance.open_file import OpenFile


async def test_who_waits_hears_when_all_before_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closer, told = Closer(asyncio.get_running_loop()), asyncio.Queue[str]()
    closer.let_go([], lambda: told.put_nowait("nothing"))
    assert told.get_nowait() == "nothing"  # at once

    may_close, close = threading.Event(), os.close
    monkeypatch.setattr(os, "close", lambda number: (may_close.wait(10), close(number)))
    (tmp_path / "file").write_bytes(b"x")
    file = OpenFile(tmp_path / "file")
    number, given = file.descriptor, [file]
    del file
    closer.let_go(given, lambda: told.put_nowait("first"))
    closer.let_go([], lambda: told.put_nowait("second"))
    await asyncio.sleep(0)
    assert told.empty()
    os.fstat(number)
    may_close.set()
    assert [await told.get(), await told.get()] == ["first", "second"]
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(number)
    closer.end()
