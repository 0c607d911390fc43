"""What a connection sends and receives with: TCP, or TLS upon it. Both the same way, non-blocking.

    recv(bytes)                     b"" at the end of what the client sends
    send(data, flags)               MSG_MORE: a file follows
    send_file(file, offset, count)  its bytes; 0 if the file has none there

They say how many bytes they took, and raise BlockingIOError when the socket has to be waited for
first, other OSErrors when the connection is broken.
"""

import fcntl
import os
import socket
import ssl
import struct
import sys
import termios
from collections.abc import Callable
from typing import Protocol

from appliance.certificates import Certificates
from appliance.open_file import WINDOW_BYTES, OpenFile

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER 0: close() sends RST, and no client takes it for whole
_RECORD_BYTES = 16 * 1024  # the most that TLS puts into one
_FEW_BYTES = 96 * 1024  # beyond, records fill segments by themselves
_FIRST_BYTES = 64 * 1024  # given to OpenSSL at once: more to who takes it, for what is given and
# cannot leave has to be read again
# Plain ints: an operation of a flag of `socket` takes half a microsecond, twenty times as long.
_MORE, _TCP, _CORK = int(socket.MSG_MORE), int(socket.IPPROTO_TCP), int(socket.TCP_CORK)


class Wire(Protocol):
    """A client's socket."""

    sock: socket.socket
    number: int
    secure: bool
    ready: bool
    wants_read: bool

    def prepare(self) -> None:
        """Goes on with the handshake; `ready` afterwards, or BlockingIOError: the socket has to be
        waited for, to be read if it `wants_read`."""

    def recv(self, most: int, /) -> bytes:
        """See above."""

    def send(self, data: bytes | memoryview, flags: int, /) -> int:
        """See above."""

    def send_file(self, file: OpenFile, offset: int, count: int, /) -> int:
        """See above."""

    def pending(self) -> bool:
        """Bytes have come that the socket will not tell of again."""

    def finish(self) -> None:
        """Nothing more is sent. Raises OSError."""


class Plain:
    """TCP. Receiving and sending are the socket's own."""

    __slots__ = ("number", "ready", "recv", "secure", "send", "sock", "wants_read")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.number = sock.fileno()
        self.recv = sock.recv
        self.send = sock.send
        self.secure = False
        self.ready = True
        self.wants_read = False

    def prepare(self) -> None:
        pass

    def send_file(self, file: OpenFile, offset: int, count: int) -> int:
        return os.sendfile(self.number, file.descriptor, offset, count)

    def pending(self) -> bool:
        return False

    def finish(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)


class Secure:
    """TLS, by OpenSSL. A file is read into a buffer that all connections of a worker share, behind
    the head that was sent with MSG_MORE, so that both leave in one record."""

    __slots__ = (
        "_again", "_buffer", "_head", "_most", "_tls", "number", "ready",
        "secure", "sock", "wants_read",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, buffer: memoryview) -> None:
        self._tls = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self._tls.setblocking(False)
        self._buffer = buffer
        self._head = b""
        self._again = 0
        self._most = _FIRST_BYTES
        self.sock: socket.socket = self._tls
        self.number = self._tls.fileno()
        self.secure = True
        self.ready = self.wants_read = False

    @classmethod
    def maker(cls, certificates: Certificates) -> Callable[[socket.socket], "Secure"]:
        """Makes a wire of each accepted socket, with the certificate of that moment."""
        buffer = memoryview(bytearray(WINDOW_BYTES + _RECORD_BYTES))
        return lambda sock: cls(sock, certificates.context, buffer)

    def prepare(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self.wants_read = True
            raise BlockingIOError from None
        except ssl.SSLWantWriteError:
            self.wants_read = False
            raise BlockingIOError from None
        self.ready = True

    def recv(self, most: int) -> bytes:
        try:
            return self._tls.recv(most)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ssl.SSLZeroReturnError:
            return b""

    def send(self, data: bytes | memoryview, flags: int) -> int:
        if flags & _MORE:
            self._head = bytes(data)
            return len(data)
        try:
            return self._tls.write(data)
        except ssl.SSLWantWriteError:
            raise BlockingIOError from None

    def send_file(self, file: OpenFile, offset: int, count: int) -> int:
        # What OpenSSL was given and could not send, it has to be given again: the same bytes of the
        # same file, and as many, whatever is asked for now. Others may use the buffer meanwhile.
        ahead = len(self._head)
        end = self._again or ahead + min(count, self._most)
        buffer = self._buffer
        buffer[:ahead] = self._head
        got = os.preadv(file.descriptor, [buffer[ahead:end]], offset)
        if got == 0:
            return 0
        end = ahead + got
        few = _RECORD_BYTES < end <= _FEW_BYTES
        if few:  # they leave together: a segment and a wake-up for all, not for each
            self.sock.setsockopt(_TCP, _CORK, 1)
        try:
            self._tls.write(buffer[:end])
        except ssl.SSLWantWriteError:
            self._again, self._most = end, _FIRST_BYTES
            raise BlockingIOError from None
        finally:
            if few:
                self.sock.setsockopt(_TCP, _CORK, 0)
        if self._again:
            self._again = 0
        else:
            self._most = min(2 * self._most, WINDOW_BYTES)
        self._head = b""
        return got

    def pending(self) -> bool:
        return self._tls.pending() > 0

    def finish(self) -> None:
        try:
            self._tls.unwrap()
        except (ssl.SSLError, ValueError, BlockingIOError):
            pass  # our close_notify has left, or there is nobody to tell
        self.sock.shutdown(socket.SHUT_WR)


def unsent_bytes(sock: socket.socket) -> int:
    """What the kernel still holds for the other side: sent and not acknowledged, or not sent."""
    told = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(told, sys.byteorder)


def reset(sock: socket.socket) -> None:
    """When the socket is closed, the client sees a reset."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    except OSError:
        pass
