"""TLS on a socket that takes little: what OpenSSL was given is given again, whatever is asked."""

import contextlib
import os
import random
import socket
import ssl
import threading
from pathlib import Path

from appliance.open_file import WINDOW_BYTES, OpenFile
from appliance.wire import Secure
from tests.certificates import write_certificate


def test_fewer_bytes_asked_for_after_a_full_socket_are_the_same_bytes(tmp_path: Path) -> None:
    chain, key = write_certificate(tmp_path, "wire")
    offered, wanted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    offered.load_cert_chain(chain, key)
    wanted.check_hostname, wanted.verify_mode = False, ssl.CERT_NONE
    data = os.urandom(3 * WINDOW_BYTES + 123)
    (tmp_path / "file").write_bytes(data)
    file, head, got = OpenFile(tmp_path / "file"), b"head" * 100, bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
    ours.setblocking(False)
    may_read = threading.Semaphore(0)

    def read() -> None:
        with wanted.wrap_socket(theirs) as client:
            while len(got) < len(head) + len(data):
                may_read.acquire()
                got.extend(client.recv(64 * 1024))

    reader = threading.Thread(target=read, daemon=True)  # a failure is told, not waited for
    reader.start()
    wire = Secure(ours, offered, memoryview(bytearray(WINDOW_BYTES + len(head))))
    while not wire.ready:
        with contextlib.suppress(BlockingIOError):
            wire.prepare()
    assert wire.send(head, socket.MSG_MORE) == len(head)
    chance, offset, blocked = random.Random(7), 0, 0
    while offset < len(data):
        try:
            offset += wire.send_file(file, offset, chance.choice((1, 5_000, len(data) - offset)))
        except BlockingIOError:
            blocked += 1
        may_read.release()
    for _ in range(1_000):
        may_read.release()
    reader.join(10)
    assert bytes(got) == head + data and blocked > 3
    ours.close()
