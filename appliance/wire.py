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
from appliance.open_file import OpenFile

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER 0: close() sends RST, and no client takes it for whole
_RECORD_BYTES = 16 * 1024  # the most that TLS puts into one
_TLS_BYTES = 16 * _RECORD_BYTES  # read at once


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

    __slots__ = ("_buffer", "_head", "_tls", "number", "ready", "secure", "sock", "wants_read")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, buffer: memoryview) -> None:
        self._tls = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self._tls.setblocking(False)
        self._buffer = buffer
        self._head = b""
        self.sock: socket.socket = self._tls
        self.number = self._tls.fileno()
        self.secure = True
        self.ready = self.wants_read = False

    @classmethod
    def maker(cls, certificates: Certificates) -> Callable[[socket.socket], "Secure"]:
        """Makes a wire of each accepted socket, with the certificate of that moment."""
        buffer = memoryview(bytearray(_TLS_BYTES))
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
        if flags & socket.MSG_MORE:
            self._head = bytes(data)
            return len(data)
        return self._write(data)

    def send_file(self, file: OpenFile, offset: int, count: int) -> int:
        # What OpenSSL took for a record and could not send is asked for again: the same bytes of
        # the same file, and no fewer, so the buffer may have been used by others meanwhile.
        ahead = len(self._head)
        buffer = self._buffer
        buffer[:ahead] = self._head
        got = os.preadv(file.descriptor, [buffer[ahead : ahead + count]], offset)
        if got == 0:
            return 0
        sent, end = 0, ahead + got
        several = end > _RECORD_BYTES
        if several:  # they leave together: a segment and a wake-up for all, not for each
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        try:
            while sent < end:
                sent += self._write(buffer[sent:end])
        except BlockingIOError:
            if sent == 0:
                raise
        finally:
            if several:
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        self._head = b""  # it is shorter than a record, and so left with the first bytes
        return sent - ahead

    def _write(self, data: bytes | memoryview) -> int:
        try:
            return self._tls.send(data)
        except ssl.SSLWantWriteError:
            raise BlockingIOError from None

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
