"""A small HTTP client on bare streams, for what is verified and for what is timed to the first
byte: the same for every side, with nothing between it and the socket."""

import asyncio
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

_MAX_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True)
class Answer:
    """A whole answer; field names are in lower case. `first_byte_s` counts from the sending of the
    request to the first byte of the body."""

    status: int
    fields: dict[str, str]
    body: bytes
    first_byte_s: float


async def connect(
    base: str, *, local: str | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the server of an address, from `local` if given. Raises OSError."""
    parts = urlsplit(base)
    tls = None
    if parts.scheme == "https":  # a certificate of our own, on this machine
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return await asyncio.open_connection(
        parts.hostname,
        parts.port,
        limit=_MAX_HEAD_BYTES,
        ssl=tls,
        local_addr=None if local is None else (local, 0),
    )


async def ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    target: str,
    *,
    span: str = "",
    method: str = "GET",
) -> Answer:
    """One request on an open connection; `span` is a range such as `0-99`. Raises OSError or
    EOFError when the connection breaks, ValueError for what is not an answer."""
    range_line = f"Range: bytes={span}\r\n" if span else ""
    began = time.perf_counter()
    writer.write(f"{method} {target} HTTP/1.1\r\nHost: bench\r\n{range_line}\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    length = 0 if method == "HEAD" else int(fields.get("content-length", "0"))
    start = await reader.readexactly(min(1, length))
    first_byte_s = time.perf_counter() - began
    body = start + await reader.readexactly(length - len(start))
    return Answer(int(first.split()[1]), fields, body, first_byte_s)


async def fetch(base: str, target: str, *, span: str = "") -> Answer:
    """One request on a connection of its own."""
    reader, writer = await connect(base)
    try:
        return await ask(reader, writer, target, span=span)
    finally:
        writer.close()
