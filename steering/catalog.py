"""The published packages, polled from the control plane; the last copy is kept on disk, so that
plans go on while the control plane is away, even over a restart."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from media.fleet import PackageList, PackageRef
from media.inventory import sha256_of
from runtime.client import Client
from runtime.durable import write_durably
from runtime.errors import Problem
from runtime.log import logger

MAX_BACK_OFF_S = 15.0


@dataclass(frozen=True)
class Listing:
    """Packages, newest first. `revision` is the SHA-256 of their list, and its ETag."""

    revision: str
    packages: tuple[PackageRef, ...]


def listing(raw: bytes) -> Listing:
    """The listing of a PackageList in JSON. Raises ValidationError."""
    packages = PackageList.model_validate_json(raw).packages
    newest_first = sorted(
        packages, key=lambda package: (package.published_at, package.package_id), reverse=True
    )
    return Listing(sha256_of(raw), tuple(newest_first))


class PackageCatalog:
    """Follows `GET /v1/packages` of the control plane."""

    def __init__(self, client: Client, path: Path, poll_s: float) -> None:
        """Starts with the copy in `path`, or with nothing."""
        self._client = client
        self._path = path
        self._poll_s = poll_s
        self.listing = Listing("", ())
        self.away = False
        try:
            self.listing = listing(path.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, ValidationError) as error:
            logger().warning("packages_unreadable", path=str(path), why=type(error).__name__)

    async def follow(self) -> None:
        """Polls for ever. A control plane that does not answer is asked less and less often, and
        the last copy stands."""
        wait_s = self._poll_s
        while True:
            try:
                await self.refresh()
            except Problem as problem:
                if not self.away:
                    logger().warning("control_plane_away", code=problem.code, why=problem.detail)
                self.away = True
                wait_s = min(wait_s * 2, max(MAX_BACK_OFF_S, self._poll_s))
            else:
                if self.away:
                    logger().info("control_plane_back")
                self.away = False
                wait_s = self._poll_s
            await asyncio.sleep(wait_s)

    async def refresh(self) -> None:
        """`listing` is what the control plane has now, and so is the copy. Raises Problem."""
        raw = await self._client.call_raw("GET", "/v1/packages", known=self.listing.revision)
        if not raw or sha256_of(raw) == self.listing.revision:
            return
        try:
            heard = await asyncio.to_thread(listing, raw)
        except ValidationError:
            raise Problem(
                "unavailable", "The control plane's list of packages is not one."
            ) from None
        try:  # the copy first: what was once planned with is found again after a restart
            await asyncio.to_thread(write_durably, self._path, raw)
        except OSError as error:
            logger().warning("packages_not_written", why=str(error))
        self.listing = heard
        logger().info("packages_changed", packages=len(heard.packages))
