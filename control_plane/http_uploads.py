"""Handlers of uploads, and the bytes of their parts."""

import asyncio

from aiohttp import web

from control_plane.uploads import Uploads
from media.api import CompleteUpload, Job, NewUpload, Upload
from runtime.api import Call
from runtime.errors import Problem

# A part is held in memory until it is whole, so that a part that was cut off leaves nothing.
PARTS_AT_ONCE = 8
PART_TIMEOUT_S = 600.0


class UploadsHttp:
    """Uploads of masters."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._room = asyncio.Semaphore(PARTS_AT_ONCE)

    async def start(self, call: Call) -> Upload:
        return await self._uploads.start(call.path["title_id"], call.body(NewUpload))

    async def put_part(self, call: Call) -> web.Response:
        part = await self._uploads.part(call.path["upload_id"], int(call.path["number"]))
        announced = call.request.content_length
        if announced is not None and announced != part.span.bytes:
            raise Problem("parts_differ", f"Part {part.span.number} has {part.span.bytes} bytes.")
        async with self._room:
            data = await _read(call.request, part.span.bytes)
            etag = await self._uploads.put_part(part, data)
        return web.Response(status=204, headers={"ETag": f'"{etag}"'})

    async def complete(self, call: Call) -> Job:
        return await self._uploads.complete(call.path["upload_id"], call.body(CompleteUpload))

    async def abort(self, call: Call) -> None:
        await self._uploads.abort(call.path["upload_id"])


async def _read(request: web.Request, size: int) -> bytes:
    """The whole body. Raises Problem when it is longer than `size`, or takes too long."""
    data = bytearray()
    try:
        async with asyncio.timeout(PART_TIMEOUT_S):
            async for piece in request.content.iter_any():
                data += piece
                if len(data) > size:
                    raise Problem("parts_differ", f"The part has {size} bytes, more came.")
    except TimeoutError:
        raise Problem("bad_request", f"The part took over {PART_TIMEOUT_S:.0f} s.") from None
    return bytes(data)
