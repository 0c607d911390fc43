"""Scrubbing: held files are read again, slowly, and those that changed on the disk are let go.

A file carries its SHA-256 (appliance/shelf.py). Pages that serving keeps in memory are checked as
they are there, since these are the bytes that go out; others are read from the disk and dropped
from memory again, so that scrubbing leaves the page cache as it was.
"""

import asyncio
import errno
import hashlib
import os

from appliance.cache import Cache
from appliance.shelf import DIGEST_ATTRIBUTE
from runtime.log import logger

_BLOCK_BYTES = 1024 * 1024
_FILE_BYTES = 64 * 1024  # what a file costs at least: small ones would keep the keeper busy
_PAUSE_S = 10.0  # after all files, and when there are none


class Scrubber:
    """Goes through the cache, for ever."""

    def __init__(self, cache: Cache, bytes_per_s: int) -> None:
        """0 is off."""
        self._cache = cache
        self._bytes_per_s = bytes_per_s
        self._buffer = bytearray(_BLOCK_BYTES)

    async def run(self) -> None:
        """Scrubs for ever, unless it is off."""
        while self._bytes_per_s:
            for directory in self._cache.directories():
                for key in directory:
                    if key in self._cache:
                        await self.check(key)
                        await asyncio.sleep(_FILE_BYTES / self._bytes_per_s)
            await asyncio.sleep(_PAUSE_S)

    async def check(self, key: str) -> bool:
        """The file is what it was when it came, or is not held any more. False if it was not. One
        that carries no digest is taken as it is."""
        try:
            descriptor = os.open(self._cache.path(key), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # it has moved, or left
            return True
        except OSError as error:
            return self._lose(key, None, error.strerror or str(error))
        try:
            try:
                told = os.getxattr(descriptor, DIGEST_ATTRIBUTE)
            except OSError:
                return True
            found = await self._digest(descriptor)
            if found == told:
                return True
            return self._lose(key, descriptor, "its digest is another")
        except OSError as error:
            return self._lose(key, descriptor, error.strerror or str(error))
        finally:
            os.close(descriptor)

    async def _digest(self, descriptor: int) -> bytes:
        # Without it, reading one block would make the next one resident.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        digest, offset, size = hashlib.sha256(), 0, os.fstat(descriptor).st_size
        while offset < size:
            got = await asyncio.to_thread(self._read, descriptor, offset, digest)
            if got == 0:
                break
            offset += got
            self._cache.scrubbed_bytes += got
            if self._bytes_per_s:
                await asyncio.sleep(got / self._bytes_per_s)
        return digest.digest()

    def _read(self, descriptor: int, offset: int, digest: "hashlib._Hash") -> int:
        view = memoryview(self._buffer)
        try:
            got = os.preadv(descriptor, [view], offset, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EOPNOTSUPP):
                raise
            got = 0
        if got == 0:  # not resident, or the end
            got = os.preadv(descriptor, [view], offset)
            os.posix_fadvise(descriptor, offset, got, os.POSIX_FADV_DONTNEED)
        digest.update(view[:got])
        return got

    def _lose(self, key: str, descriptor: int | None, why: str) -> bool:
        """The file is removed, unless another has taken its place meanwhile."""
        try:
            same = descriptor is None or os.path.samestat(
                os.fstat(descriptor), self._cache.path(key).stat()
            )
        except OSError:
            return True
        if same:
            self._cache.corrupt_files += 1
            logger().error("corrupt_file", file=key, why=why)
            self._cache.remove([key])
        return not same
