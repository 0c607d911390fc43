"""One connection of the data port: reads requests, and has them answered in their order.

Raw sockets with `add_reader` and `add_writer`: an exchange sends with sendfile, which asyncio's
transports do not let us call.
"""

from typing import TYPE_CHECKING

from appliance.board import Word
from appliance.exchange import Exchange
from appliance.gate import Grant
from appliance.http1 import BadRequest, RequestReader
from appliance.wire import Wire, reset

if TYPE_CHECKING:
    from appliance.worker import Worker

_RECV_BYTES = 4 * 1024  # held at most of what a client sends ahead; the rest waits in the kernel
_LINGER_S = 2.0


class Connection:
    """A client, from accept to close. The worker's sweep stops it when `deadline` has passed."""

    __slots__ = (
        "__weakref__", "_closed", "_exchange", "_half_closed", "_in_head", "_lingering",
        "_reader", "_reading", "_shaking", "address", "deadline", "wire", "worker",
    )  # fmt: skip

    def __init__(self, worker: "Worker", wire: Wire, address: str) -> None:
        self.address = address
        self.deadline = worker.request_until
        self.worker = worker
        self.wire = wire
        self._reader = RequestReader(worker.seen_heads)
        self._exchange: Exchange | None = None
        self._closed = False
        self._reading = False
        self._in_head = False  # a request has begun, and is not whole
        self._half_closed = False  # the client sends no more, and still reads
        self._lingering = False  # we send no more, and still read
        self._shaking = False  # the handshake waits to write
        self._read_on()

    @property
    def busy(self) -> bool:
        """An answer is under way."""
        return self._exchange is not None

    @property
    def reads_for(self) -> Grant | None:
        """By what token the answer under way is given."""
        return self._exchange.grant if self._exchange is not None else None

    # Reading.

    def _on_readable(self) -> None:
        wire = self.wire
        try:
            if not wire.ready:
                self._prepare()
            recv = wire.recv  # found quicker than as a method
            data = recv(_RECV_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self._half_closed = True
        if self._lingering:
            if not data:
                self.close()
        elif self._exchange is not None:  # pipelined: it waits its turn
            self._reader.feed(data)
            self._read_no_more()
        else:
            self._next(data)
            if len(data) == _RECV_BYTES and self._reading:
                self._look_behind()

    def _look_behind(self) -> None:
        """The rest of a TLS record that was not read whole is read, too: no socket tells of it."""
        if self.wire.pending():
            self.worker.soon(self._on_pending)

    def _on_pending(self) -> None:
        if self._reading:
            self._on_readable()

    def _prepare(self) -> None:
        """Goes on with the handshake. Raises BlockingIOError until it is through."""
        if self._shaking:
            self._shaking = False
            self.worker.poller.remove_writer(self.wire.number)
        try:
            self.wire.prepare()
        except BlockingIOError:
            if not self.wire.wants_read:
                self._shaking = True
                self.worker.poller.add_writer(self.wire.number, self._on_readable)
            raise

    def _next(self, data: bytes = b"") -> None:
        """Has the next request answered, or waits until one has come whole."""
        if self._exchange is not None or self._closed:
            return
        try:
            request = self._reader.next(data)
        except BadRequest as refused:
            self._read_no_more()
            self._exchange = Exchange(self, None)
            self._exchange.refuse(refused.code, detail=refused.detail)
            return
        if request is not None:
            self._in_head = False
            if request.plain and self.worker.at_once.answer(self, request):
                return
            self._exchange = exchange = Exchange(self, request)
            exchange.decide(request)
        elif self._half_closed:
            self._part()
        else:
            if not self._in_head and self._reader.in_request:  # it has this long, and not longer
                self._in_head = True
                self.deadline = self.worker.request_until
            self._read_on()

    def go_on(self, exchange: Exchange) -> None:
        """An answer is under way."""
        self._exchange = exchange

    def answered(self, keep_alive: bool) -> None:
        """The answer has left: the next one, or the end."""
        self._exchange = None
        if not keep_alive:
            self._part()
        elif self._reader.in_request:
            self.worker.soon(self._next)
        elif self._half_closed:
            self._part()
        else:
            self.deadline = self.worker.idle_until
            if not self._reading:
                self._read_on()

    def _read_on(self) -> None:
        if not self._reading:
            self._reading = True
            self.worker.poller.add_reader(self.wire.number, self._on_readable)
            self._look_behind()

    def _read_no_more(self) -> None:
        if self._reading:
            self._reading = False
            self.worker.poller.remove_reader(self.wire.number)

    # Ending.

    def overdue(self) -> None:
        """`deadline` has passed: closed or given up, but for a client that does read on."""
        if self._exchange is not None and self._exchange.is_read_slowly():
            self.deadline = self.worker.stalled_until
        else:
            self.stop("unavailable")

    def stop(self, code: str) -> None:
        """The answer under way is given up with this code; without one, the connection closes: in
        stages, and when it is stopped again, at once."""
        if self._exchange is not None:
            self._exchange.give_up(code)
        elif self._lingering:
            self.close()
        else:
            self._part()

    def _part(self) -> None:
        """Closes in stages. The client hears that no more comes, by close_notify, too (RFC 9112
        9.8). It may still be sending what was refused or comes too late, and a reset would overtake
        the answer (9.6)."""
        try:
            self.wire.finish()
        except OSError:
            self.close()
            return
        if self._half_closed:
            self.close()
            return
        self._lingering = True
        self.deadline = self.worker.now + _LINGER_S
        self._read_on()

    def abort(self) -> None:
        """The client sees a reset: nothing that was sent can pass for a whole answer."""
        self.worker.row[Word.ABORTED] += 1
        reset(self.wire.sock)
        self.close()

    def close(self) -> None:
        """The connection is gone, and nothing waits for it."""
        if self._closed:
            return
        self._closed = True
        self._reading = False
        if self._exchange is not None:
            self._exchange.end()
            self._exchange = None
        self.worker.poller.forget(self.wire.number)
        self.wire.sock.close()
        self.worker.forget(self)
