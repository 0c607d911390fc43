"""What the kernel says of a real connection."""

import socket
import struct

from appliance.tcp_info import TCP_INFO_BYTES, Path, read


def test_a_connection_over_loopback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with client, server:
            for _ in range(50):
                server.sendall(bytes(100_000))
                left = 100_000
                while left:
                    left -= len(client.recv(left))
            info = server.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    assert len(info) == TCP_INFO_BYTES
    told = read(info)
    assert told.rtt_ms is not None and 0 <= told.rtt_ms < 100
    assert told.throughput_kbps is not None and 10_000 < told.throughput_kbps < 10**9


def test_offsets() -> None:
    info = bytearray(TCP_INFO_BYTES)
    assert read(bytes(info)) == Path(None, None)  # nothing was measured yet
    struct.pack_into("=I", info, 68, 20_400)
    struct.pack_into("=I", info, 80, 10)
    struct.pack_into("=I", info, 16, 1448)
    assert read(bytes(info)) == Path(20, 10 * 1448 * 8 * 1000 // 20_400)
    struct.pack_into("=Q", info, 160, 1_250_000)
    assert read(bytes(info)) == Path(20, 10_000)
    assert read(bytes(info[:104])) == Path(20, 10 * 1448 * 8 * 1000 // 20_400)  # an older kernel
    assert read(b"") == Path(None, None)
