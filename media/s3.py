"""Objects in an S3-compatible store, through boto3 in a bounded pool of threads; what is poured
goes its own way (`s3_read`).

Conditional puts are create-only (`If-None-Match: *`), the one condition that every server
tried here knows. Addresses are path-style, as self-hosted servers want them.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from media.http_get import Take
from media.objects import (
    PAGE,
    DonePart,
    ObjectInfo,
    ProgressFn,
    StoreUnavailable,
    check_key,
)
from media.s3_read import S3Reader

T = TypeVar("T")
PART_BYTES = 16 * 1024 * 1024
THREADS = 16


class S3Store:
    """One bucket, or the part of one below `prefix`."""

    def __init__(
        self, bucket: str, endpoint: str | None = None, region: str = "us-east-1", prefix: str = ""
    ) -> None:
        options = {"endpoint": endpoint, "region": region, "prefix": prefix}
        named = urlencode({name: value for name, value in options.items() if value})
        self.url = f"s3://{bucket}?{named}"
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        session = boto3.Session()
        self._client = session.client(
            "s3",
            endpoint_url=endpoint,
            region_name=region,
            config=Config(
                signature_version="s3v4",  # the default signs presigned parts with v2
                s3={"addressing_style": "path"},
                connect_timeout=3,
                read_timeout=20,
                retries={"total_max_attempts": 3, "mode": "standard"},
                max_pool_connections=THREADS,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        self._reader = S3Reader(
            f"{self._client.meta.endpoint_url}/{bucket}",
            self._client.meta.region_name,
            session.get_credentials(),
        )
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")
        self._transfer = TransferConfig(
            multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4
        )

    async def put_bytes(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        condition = {"IfNoneMatch": "*"} if create_only else {}
        await self._run(
            key,
            lambda: self._client.put_object(
                Bucket=self._bucket, Key=self._key(key), Body=data, **condition
            ),
        )

    async def put_file(
        self,
        key: str,
        path: Path,
        *,
        create_only: bool = False,
        progress: ProgressFn | None = None,
    ) -> None:
        if create_only and path.stat().st_size < PART_BYTES:
            # One put can carry the condition; the transfer of boto3 cannot.
            await self.put_bytes(key, await asyncio.to_thread(path.read_bytes), create_only=True)
            if progress:
                progress(path.stat().st_size)
            return
        if create_only and await self._exists(key):
            raise FileExistsError(key)
        await self._run(
            key,
            lambda: self._client.upload_file(
                str(path),
                self._bucket,
                self._key(key),
                Config=self._transfer,
                Callback=_counter(progress),
            ),
        )

    async def get_bytes(self, key: str, *, max_bytes: int) -> bytes:
        def get() -> bytes:
            body = self._client.get_object(Bucket=self._bucket, Key=self._key(key))["Body"]
            with body:
                return bytes(body.read(max_bytes + 1))

        data = await self._run(key, get)
        if len(data) > max_bytes:
            raise ValueError(f"{key} is larger than {max_bytes} bytes")
        return data

    async def pour(self, key: str, take: Take, start: int = 0) -> None:
        await self._reader.pour(self._key(key), take, start)

    async def get_file(self, key: str, path: Path, *, progress: ProgressFn | None = None) -> None:
        counted = _counter(progress)
        await self._run(
            key,
            lambda: self._client.download_file(
                self._bucket, self._key(key), str(path), Config=self._transfer, Callback=counted
            ),
        )

    async def stat(self, key: str) -> ObjectInfo:
        head = await self._run(
            key, lambda: self._client.head_object(Bucket=self._bucket, Key=self._key(key))
        )
        return ObjectInfo(key, head["ContentLength"], head["LastModified"].timestamp())

    async def list_objects(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        async for page in self._pages(prefix):
            for item in page.get("Contents", ()):
                key = item["Key"].removeprefix(self._prefix)
                yield ObjectInfo(key, item["Size"], item["LastModified"].timestamp())

    async def list_folders(self, folder: str, after: str = "") -> AsyncIterator[str]:
        options = {"Delimiter": "/"}
        if after:  # behind every key of that folder: servers differ in what they make of its name
            options["StartAfter"] = f"{self._prefix}{after}~"
        async for page in self._pages(folder, **options):
            for item in page.get("CommonPrefixes", ()):
                found = item["Prefix"].removeprefix(self._prefix)
                if found > after:
                    yield found

    async def _pages(self, prefix: str, **options: str) -> AsyncIterator[dict[str, Any]]:
        wanted = {"Bucket": self._bucket, "Prefix": self._prefix + prefix, "MaxKeys": PAGE}
        wanted |= options
        while True:
            page = await self._run(prefix, partial(self._client.list_objects_v2, **wanted))
            yield page
            if not page.get("IsTruncated"):
                return
            wanted["ContinuationToken"] = page["NextContinuationToken"]

    async def delete(self, key: str) -> None:
        await self._run(
            key, lambda: self._client.delete_object(Bucket=self._bucket, Key=self._key(key))
        )

    async def start_upload(self, key: str) -> str:
        answer = await self._run(
            key,
            lambda: self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key(key)),
        )
        return str(answer["UploadId"])

    async def address(self, key: str, ttl_s: int) -> str:
        return await self._run(
            key,
            lambda: self._client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self._bucket, "Key": self._key(key)},
                ExpiresIn=ttl_s,
            ),
        )

    async def part_url(self, key: str, upload_id: str, number: int, ttl_s: int) -> str | None:
        return await self._run(
            key,
            lambda: self._client.generate_presigned_url(
                "upload_part", Params=self._part(key, upload_id, number), ExpiresIn=ttl_s
            ),
        )

    async def put_part(
        self, key: str, upload_id: str, number: int, pieces: AsyncIterable[bytes], size: int
    ) -> str:
        raise ValueError("it goes to its presigned address")

    async def finish_upload(self, key: str, upload_id: str, parts: list[DonePart]) -> None:
        named = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        await self._run(
            key,
            lambda: self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._key(key),
                UploadId=upload_id,
                MultipartUpload={"Parts": named},
            ),
        )

    async def abort_upload(self, key: str, upload_id: str) -> None:
        try:
            await self._run(
                key,
                lambda: self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=self._key(key), UploadId=upload_id
                ),
            )
        except FileNotFoundError:
            pass

    async def sweep(self, before_s: float) -> None:
        before = datetime.fromtimestamp(before_s, UTC)
        wanted = {"Bucket": self._bucket, "Prefix": self._prefix}
        while True:
            page = await self._run("", partial(self._client.list_multipart_uploads, **wanted))
            for upload in page.get("Uploads", ()):
                if upload["Initiated"] < before:
                    key = upload["Key"].removeprefix(self._prefix)
                    await self.abort_upload(key, upload["UploadId"])
            if not page.get("IsTruncated"):
                return
            wanted["KeyMarker"] = page["NextKeyMarker"]
            wanted["UploadIdMarker"] = page["NextUploadIdMarker"]

    async def create_bucket(self) -> None:
        """The bucket exists."""
        try:
            await self._run(self._bucket, lambda: self._client.create_bucket(Bucket=self._bucket))
        except FileExistsError:
            pass

    async def close(self) -> None:
        self._reader.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    async def _exists(self, key: str) -> bool:
        try:
            await self.stat(key)
        except FileNotFoundError:
            return False
        return True

    def _key(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _part(self, key: str, upload_id: str, number: int) -> dict[str, Any]:
        return {
            "Bucket": self._bucket,
            "Key": self._key(key),
            "UploadId": upload_id,
            "PartNumber": number,
        }

    async def _run(self, key: str, call: Callable[[], T]) -> T:
        """The call's answer, from a thread; its errors in the words of `objects`."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call)
        except ClientError as error:
            raise _in_our_words(error, key) from error
        except (BotoCoreError, Boto3Error) as error:
            raise StoreUnavailable(f"the store does not answer: {error}") from error


_MEANING: dict[str, type[Exception]] = {
    "404": FileNotFoundError,
    "NoSuchKey": FileNotFoundError,
    "NoSuchUpload": FileNotFoundError,
    "PreconditionFailed": FileExistsError,
    "412": FileExistsError,
    "BucketAlreadyOwnedByYou": FileExistsError,
    "BucketAlreadyExists": FileExistsError,
    "InvalidPart": ValueError,
    "InvalidPartOrder": ValueError,
    "EntityTooSmall": ValueError,
}


def _in_our_words(error: ClientError, key: str) -> Exception:
    detail = error.response.get("Error", {})
    meaning = _MEANING.get(str(detail.get("Code", "")))
    if meaning is not None:
        return meaning(key)
    return StoreUnavailable(
        f"the store refused {error.operation_name}: {detail.get('Code')} {detail.get('Message')}"
    )


def _counter(progress: ProgressFn | None) -> Callable[[int], None] | None:
    """boto3 tells the bytes of each piece; we tell the bytes so far."""
    if progress is None:
        return None
    tell, done = progress, 0

    def count(piece_bytes: int) -> None:
        nonlocal done
        done += piece_bytes
        tell(done)

    return count
