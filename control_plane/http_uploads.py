"""Handlers of uploads."""

import asyncio

from aiohttp import web

from control_plane.uploads import Uploads
from media.api import CompleteUpload, Job, NewUpload, Upload
from media.webvtt import MAX_BYTES as MAX_SUBTITLES_BYTES
from runtime.api import Call
from runtime.errors import Problem

PART_TIMEOUT_S = 600.0


class UploadsHttp:
    """Uploads of masters."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads

    async def start(self, call: Call) -> Upload:
        return await self._uploads.start(call.path["title_id"], call.body(NewUpload))

    async def put_part(self, call: Call) -> web.Response:
        part = await self._uploads.part(call.path["upload_id"], int(call.path["number"]))
        announced = call.request.content_length
        if announced is not None and announced != part.span.bytes:
            raise Problem("parts_differ", f"Part {part.span.number} has {part.span.bytes} bytes.")
        try:
            async with asyncio.timeout(PART_TIMEOUT_S):
                etag = await self._uploads.put_part(part, call.request.content.iter_any())
        except TimeoutError:
            raise Problem("bad_request", f"The part took over {PART_TIMEOUT_S:.0f} s.") from None
        return web.Response(status=204, headers={"ETag": f'"{etag}"'})

    async def put_subtitles(self, call: Call) -> None:
        raw = bytearray()
        try:
            async with asyncio.timeout(PART_TIMEOUT_S):
                async for piece in call.request.content.iter_any():
                    raw += piece
                    if len(raw) > MAX_SUBTITLES_BYTES:
                        break  # and they are refused for it
        except TimeoutError:
            raise Problem("bad_request", f"They took over {PART_TIMEOUT_S:.0f} s.") from None
        language = call.path["language"]
        await self._uploads.put_subtitles(call.path["upload_id"], language, bytes(raw))

    async def complete(self, call: Call) -> Job:
        return await self._uploads.complete(call.path["upload_id"], call.body(CompleteUpload))

    async def abort(self, call: Call) -> None:
        await self._uploads.abort(call.path["upload_id"])
