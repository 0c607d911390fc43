"""`python -m lab.peers.bare PORT BYTES`: aiohttp with one handler that returns a constant, which is
the most that a service on aiohttp can do."""

import asyncio
import sys

import uvloop
from aiohttp import web


def main() -> None:
    """Serves until it is ended."""
    port, size = int(sys.argv[1]), int(sys.argv[2])
    body = b"x" * size

    async def constant(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/{rest:.*}", constant)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()

    uvloop.run(serve())


if __name__ == "__main__":
    main()
