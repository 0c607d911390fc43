"""Reading objects of an S3 store, poured (`http_get`).

boto3 itself reads in threads, one hop to a thread and back for each piece; an appliance that fills
hundreds of files a second has no time for that.
"""

import asyncio
import os
import ssl
import time
from typing import Any
from urllib.parse import quote, urlsplit

from media.http_get import GetFailed, Getter, Take
from media.objects import StoreUnavailable
from media.sigv4 import Credentials, signed


class S3Reader:
    """GETs below one address. Made and used in one event loop."""

    def __init__(self, bucket_url: str, region: str, credentials: Any) -> None:
        """`credentials` are botocore's, which may have to be renewed; None: nothing is signed."""
        parts = urlsplit(bucket_url)
        self._host = parts.netloc
        self._path = parts.path
        self._region = region
        self._credentials = credentials
        # The same bundle of authorities that botocore goes by.
        tls = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)
        self._getter = Getter(f"{parts.scheme}://{parts.netloc}", tls=tls)

    async def pour(self, key: str, take: Take, start: int) -> None:
        """`take` was given the object's bytes from `start`. Raises FileNotFoundError or
        StoreUnavailable."""
        path = f"{self._path}/{quote(key)}"
        fields = await self._sign(path)
        if start:
            fields["Range"] = f"bytes={start}-"
        wanted = 206 if start else 200
        try:
            status, told = await self._getter.get(path, fields, take, wanted=wanted)
        except GetFailed as error:
            raise StoreUnavailable(f"the store does not answer: {error}") from error
        if status == 404:
            raise FileNotFoundError(key)
        if status not in (wanted, 416):  # 416: nothing is left to read
            said = told.decode("utf-8", "replace")
            raise StoreUnavailable(f"the store answered {status}: {said}")

    def close(self) -> None:
        """Connections are closed."""
        self._getter.close()

    async def _sign(self, path: str) -> dict[str, str]:
        if self._credentials is None:
            return {}
        if getattr(self._credentials, "refresh_needed", bool)():  # it may ask somebody for new ones
            frozen = await asyncio.to_thread(self._credentials.get_frozen_credentials)
        else:
            frozen = self._credentials.get_frozen_credentials()
        credentials = Credentials(frozen.access_key, frozen.secret_key, frozen.token)
        return signed(self._host, path, self._region, credentials, time.time())
