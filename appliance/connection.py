"""One connection of the data port: reads requests, and has them answered in their order.

Raw sockets with `add_reader` and `add_writer`: an exchange sends with sendfile, which asyncio's
transports do not let us call.
"""

import socket
import struct
from typing import TYPE_CHECKING

from appliance.board import Word
from appliance.exchange import Exchange
from appliance.http1 import BadRequest, Request, RequestReader
from media.token import PathClaims

if TYPE_CHECKING:
    from appliance.worker import Worker

_RECV_BYTES = 16 * 1024  # held at most of what a client sends ahead; the rest waits in the kernel
_LINGER_S = 2.0
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER 0: close() sends RST, and no client takes it for whole


class Connection:
    """A client, from accept to close. The worker's sweep stops it when `deadline` has passed."""

    def __init__(self, worker: "Worker", sock: socket.socket, address: str) -> None:
        self.address = address
        self.deadline = worker.now + worker.settings.request_timeout_s
        self.worker = worker
        self.sock = sock
        self.number = sock.fileno()
        self._reader = RequestReader()
        self._exchange: Exchange | None = None
        self._closed = False
        self._reading = False
        self._half_closed = False  # the client sends no more, and still reads
        self._lingering = False  # we send no more, and still read
        self._read_on()

    @property
    def busy(self) -> bool:
        """An answer is under way."""
        return self._exchange is not None

    @property
    def reads_for(self) -> PathClaims | None:
        """The claims of the answer under way."""
        return self._exchange.claims if self._exchange is not None else None

    # Reading.

    def _on_readable(self) -> None:
        try:
            data = self.sock.recv(_RECV_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if self._lingering:
            if not data:
                self.close()
            return
        self._half_closed = not data
        if self._exchange is not None:  # pipelined: it waits its turn
            self._reader.feed(data)
            self._read_no_more()
            return
        if not self._reader.in_request:  # a head begins: it has this long, and not longer
            self.deadline = self.worker.now + self.worker.settings.request_timeout_s
        self._reader.feed(data)
        self._next()

    def _next(self) -> None:
        """Has the next request answered, or waits until one has come whole."""
        if self._exchange is not None or self._closed:
            return
        try:
            request = self._reader.next()
        except BadRequest as refused:
            self._read_no_more()
            self._exchange = Exchange(self, None)
            self._exchange.refuse("bad_request", status=refused.status)
            return
        if request is not None:
            self._exchange = Exchange(self, request)
            self._exchange.decide(request)
        elif self._half_closed:
            self.close()
        else:
            self._read_on()

    def answered(self, request: Request | None) -> None:
        """The answer has left: the next one, or the end."""
        self._exchange = None
        if request is None:
            self._linger()
        elif not request.keep_alive:
            self.close()
        elif self._reader.in_request:
            self.deadline = self.worker.now + self.worker.settings.request_timeout_s
            self.worker.loop.call_soon(self._next)
        elif self._half_closed:
            self.close()
        else:
            self.deadline = self.worker.now + self.worker.settings.idle_timeout_s
            self._read_on()

    def _read_on(self) -> None:
        if not self._reading:
            self._reading = True
            self.worker.loop.add_reader(self.number, self._on_readable)

    def _read_no_more(self) -> None:
        if self._reading:
            self._reading = False
            self.worker.loop.remove_reader(self.number)

    # Ending.

    def stop(self, code: str) -> None:
        """The answer under way is given up with this code; without one, the connection closes."""
        if self._exchange is not None:
            self._exchange.give_up(code)
        else:
            self.close()

    def _linger(self) -> None:
        """Closes in stages: the client may still be sending what was refused, and a reset would
        overtake the answer (RFC 9112 9.6)."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self._lingering = True
        self.deadline = self.worker.now + _LINGER_S
        self._read_on()

    def abort(self) -> None:
        """The client sees a reset: nothing that was sent can pass for a whole answer."""
        self.worker.row[Word.ABORTED] += 1
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        except OSError:
            pass
        self.close()

    def close(self) -> None:
        """The connection is gone, and nothing waits for it."""
        if self._closed:
            return
        self._closed = True
        self._read_no_more()
        if self._exchange is not None:
            self._exchange.end()
            self._exchange = None
        self.sock.close()
        self.worker.forget(self)
