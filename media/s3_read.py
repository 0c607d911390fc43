"""Reading objects of an S3 store in pieces: signed by botocore, received by aiohttp.

boto3 itself reads in threads, one hop to a thread and back for each piece; an appliance that fills
hundreds of files a second has no time for that.
"""

import asyncio
from collections.abc import AsyncGenerator
from urllib.parse import quote

import aiohttp
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from yarl import URL

from media.objects import CHUNK_BYTES, StoreUnavailable

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=20)
_CONNECTIONS = 64
_TOLD_BYTES = 300  # of a refusal's body: enough for its code


class S3Reader:
    """GETs below one address. Made and used in one event loop."""

    def __init__(self, bucket_url: str, region: str, credentials: Credentials | None) -> None:
        self._bucket_url = bucket_url
        self._region = region
        self._credentials = credentials
        self._session: aiohttp.ClientSession | None = None

    async def stream(self, key: str, start: int, length: int | None) -> AsyncGenerator[bytes, None]:
        """Bytes of the object from `start`, in pieces of at most CHUNK_BYTES. Raises
        FileNotFoundError or StoreUnavailable."""
        url = f"{self._bucket_url}/{quote(key)}"
        headers = await self._sign(url)
        if start or length is not None:
            end = "" if length is None else start + length - 1
            headers["Range"] = f"bytes={start}-{end}"
        try:
            async with self._open().get(
                URL(url, encoded=True), headers=headers, allow_redirects=False
            ) as answer:
                if answer.status == 416:  # nothing is left to read
                    return
                if answer.status == 404:
                    raise FileNotFoundError(key)
                if answer.status != (206 if "Range" in headers else 200):
                    told = (await answer.content.read(_TOLD_BYTES)).decode("utf-8", "replace")
                    raise StoreUnavailable(f"the store answered {answer.status}: {told}")
                async for piece in answer.content.iter_chunked(CHUNK_BYTES):
                    yield piece
        except (aiohttp.ClientError, TimeoutError) as error:
            why = str(error) or "time-out"
            raise StoreUnavailable(f"the store does not answer: {why}") from error

    async def close(self) -> None:
        """Connections are closed."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=_TIMEOUT,
                auto_decompress=False,
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
                read_bufsize=CHUNK_BYTES,
            )
        return self._session

    async def _sign(self, url: str) -> dict[str, str]:
        """Headers that say who asks (Signature Version 4); the range is not signed."""
        if self._credentials is None:
            return {}
        if getattr(self._credentials, "refresh_needed", bool)():  # it may ask somebody for new ones
            await asyncio.to_thread(self._credentials.get_frozen_credentials)
        request = AWSRequest("GET", url, headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
        S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", self._region).add_auth(
            request
        )
        return dict(request.headers.items())
