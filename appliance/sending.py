"""The bytes of one answer on their way to its client.

Sending is a loop of `sendfile`, because the kernel then sends straight from the page cache. It goes
as far as the bytes may leave; then it waits: for its client to read, for more bytes, or for a cold
page that a thread reads ahead, so that the loop never waits for a disk.
"""

import socket
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from appliance.open_file import WINDOW_BYTES, OpenFile
from appliance.wire import unsent_bytes

if TYPE_CHECKING:
    from appliance.connection import Connection

_MORE = int(socket.MSG_MORE)
# Per turn of the loop, so that a fast reader does not starve the others; window by window. A client
# that reads as fast as it can gets files of 4 MB by windows of 640 KB as soon as from nginx; by
# smaller ones it waits a tenth longer, and by larger ones, too, or they cost half the CPU again.
SEND_BYTES = 2048 * 1024


class Sending(ABC):
    """First `_out` leaves, then `_file` from `_offset` to `_end`. Who derives from it says how much
    may leave by now, and hears when nothing more may, and when all has left."""

    # What most answers never change costs them nothing here.
    _out: bytes | memoryview = b""
    _body_bytes = 0  # of what is in `_out`
    _file: OpenFile | None = None
    _offset = _end = _sent = 0
    _unsent: int | None = None  # when it was last looked at, since we wait
    _writing = _reading_ahead = _ended = False

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._worker = connection.worker
        self._wait_for_client()

    # For who derives from it.

    @abstractmethod
    def _may_leave(self) -> int:
        """How far into the file bytes may leave now."""

    @abstractmethod
    def _on_starved(self) -> None:
        """Nothing more may leave: `_pump` is to be called when it may."""

    @abstractmethod
    def _on_sent(self) -> None:
        """All has left."""

    # Sending.

    def _pump(self) -> None:
        """Sends what can be sent now, and arranges for the rest."""
        wire = self._connection.wire
        try:
            out, file = self._out, self._file
            if out:
                sent = wire.send(out, 0 if file is None else _MORE)
                if sent < len(out):
                    self._out = memoryview(out)[sent:]
                    self._write_later()
                    return
                self._out = b""
                self._sent += self._body_bytes
            if file is not None and not self._send_file(file):
                return
        except BlockingIOError:
            self._write_later()
        except OSError:
            self._connection.close()
        else:
            self._on_sent()

    def _send_file(self, file: OpenFile) -> bool:
        """All of the file that was asked for has left. False: something has to come first, and is
        seen to. Raises BlockingIOError and other OSErrors."""
        wire = self._connection.wire
        budget = SEND_BYTES
        offset, now = self._offset, time.monotonic()
        while offset < self._end:
            limit = self._may_leave()
            if offset >= limit:
                self._stop_writing()
                self._on_starved()
                return False
            if budget <= 0:
                self._write_later()
                return False
            count = file.ready(offset, limit, now)
            if not count:
                self._read_ahead(file, min(limit - offset, WINDOW_BYTES))
                return False
            sent = wire.send_file(file, offset, min(count, budget))
            if sent == 0:
                self._connection.abort()  # the file is shorter than it was said to be
                return False
            self._offset = offset = offset + sent
            self._sent += sent
            budget -= sent
        return True

    def is_read_slowly(self) -> bool:
        """The client has taken some of what the kernel holds for it since we wait for it: less
        than would let us write on, for a slow network and a large buffer make that rare."""
        if not self._writing:
            return False
        before, self._unsent = self._unsent, unsent_bytes(self._connection.wire.sock)
        return before is None or self._unsent < before

    def _wait_for_client(self) -> None:
        self._connection.deadline = self._worker.stalled_until

    def _write_later(self) -> None:
        self._unsent = None
        self._wait_for_client()
        if not self._writing:
            self._writing = True
            self._worker.poller.add_writer(self._connection.wire.number, self._pump)

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._worker.poller.remove_writer(self._connection.wire.number)

    def _read_ahead(self, file: OpenFile, count: int) -> None:
        """Has a thread bring pages in, then goes on sending."""
        self._stop_writing()
        self._reading_ahead = True

        def go_on(_: object) -> None:
            self._reading_ahead = False
            if not self._ended:
                self._write_later()

        self._worker.read_ahead(file, self._offset, count).add_done_callback(go_on)
