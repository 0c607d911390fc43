"""The doors of a worker: its listening sockets, and who may come in."""

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from appliance.wire import Wire

_ACCEPTS_PER_TURN = 64
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_SO_MAX_PACING_RATE = 47  # <asm-generic/socket.h>; bytes per second, which the kernel keeps to


@dataclass(frozen=True)
class Door:
    """A listening socket, and what makes a wire of a connection that came through it."""

    listener: socket.socket
    wire: Callable[[socket.socket], Wire]


class Doors:
    """Accepts connections, within bounds: in all, and from one address."""

    def __init__(
        self,
        doors: list[Door],
        most: int,
        most_per_address: int,
        pace_bps: int,
        welcome: Callable[[Wire, str], None],
    ) -> None:
        self.inside = 0
        self.accepted = 0
        self._doors = doors
        self._most = most
        self._most_per_address = most_per_address
        self._pace_bytes = pace_bps // 8
        self._welcome = welcome
        self._by_address: Counter[str] = Counter()
        self._full = False  # no descriptor was left for a connection: the kernel keeps them
        self._loop = asyncio.get_running_loop()

    def open(self) -> None:
        """Connections are accepted from now on."""
        self._full = False
        for door in self._doors:
            self._loop.add_reader(door.listener.fileno(), self._accept, door)

    def close(self) -> None:
        """No more are."""
        self._full = False
        for door in self._doors:
            self._loop.remove_reader(door.listener.fileno())

    def tick(self) -> None:
        """Tries again, if there was no room."""
        if self._full:
            self.open()

    def left(self, address: str) -> None:
        """A connection from this address has closed."""
        self.inside -= 1
        self._by_address[address] -= 1
        if self._by_address[address] <= 0:
            del self._by_address[address]

    def _accept(self, door: Door) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                sock, address = door.listener.accept()
            except OSError as error:
                if error.errno in _NO_ROOM:  # and they will be no fewer the next moment
                    self.close()
                    self._full = True
                return
            host = str(address[0])
            if self.inside >= self._most or self._by_address[host] >= self._most_per_address:
                sock.close()
                continue
            self.inside += 1
            self.accepted += 1
            self._by_address[host] += 1
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._pace_bytes:
                    sock.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, self._pace_bytes)
                wire = door.wire(sock)
            except OSError:  # it has gone already
                sock.close()
                self.left(host)
                continue
            self._welcome(wire, host)
