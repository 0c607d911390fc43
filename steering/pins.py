"""Pins: packages that operators want in the plans whatever viewers ask for.

`PinBoard` is pure: each change gives a new board. `PinDesk` has it on disk before it counts.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from media.fills import MAX_PINS, Pin, PinRequest
from media.ids import PackageId
from runtime.durable import write_durably
from runtime.errors import Problem
from runtime.log import logger


class PinBoard(BaseModel):
    """The pins that stand, by package."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    pins: dict[PackageId, Pin] = Field({}, max_length=MAX_PINS)

    def pin(self, package_id: str, asked: PinRequest, now: datetime) -> "PinBoard":
        """The package is pinned as asked, and no longer as it was before."""
        if len(self.pins) >= MAX_PINS and package_id not in self.pins:
            raise Problem("too_many", f"At most {MAX_PINS} packages can be pinned.")
        given = asked.model_dump(include=set(PinRequest.model_fields))
        made = Pin(package_id=package_id, made_at=now, **given)
        return PinBoard(pins=self.pins | {package_id: made})

    def unpin(self, package_id: str) -> "PinBoard":
        """The package is not pinned."""
        if package_id not in self.pins:
            return self
        return PinBoard(pins={key: pin for key, pin in self.pins.items() if key != package_id})

    def at(self, site: str, region: str) -> dict[str, Pin]:
        """The pins that hold at a site of this region."""
        return {
            package_id: pin
            for package_id, pin in self.pins.items()
            if site in pin.sites or region in pin.regions or not (pin.sites or pin.regions)
        }


class PinDesk:
    """Keeps the board in a file."""

    def __init__(self, path: Path, now_s: Callable[[], float] = time.time) -> None:
        """Reads the file, if there is one. Raises Problem when it is damaged: what operators want
        is not forgotten silently."""
        self._path = path
        self._now_s = now_s
        self._writing = asyncio.Lock()
        self.revision = 0  # another one after each change
        try:
            self.board = PinBoard.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            self.board = PinBoard()
        except ValidationError:
            raise Problem(
                "internal", f"{path} is damaged. Restore it, or delete it to lift all pins."
            ) from None

    @property
    def pins(self) -> Mapping[str, Pin]:
        """Those that stand, by package."""
        return self.board.pins

    async def pin(self, package_id: str, asked: PinRequest) -> Pin:
        """The pin is on disk, and in the plans from now on. Raises Problem `too_many`."""
        now = datetime.fromtimestamp(self._now_s(), UTC)
        await self._change(lambda board: board.pin(package_id, asked, now))
        return self.board.pins[package_id]

    async def unpin(self, package_id: str) -> None:
        """The pin is gone from the disk, if there was one, and from plans."""
        await self._change(lambda board: board.unpin(package_id))

    async def _change(self, change: Callable[[PinBoard], PinBoard]) -> None:
        async with self._writing:
            board = change(self.board)
            if board is self.board:
                return
            try:
                raw = board.model_dump_json().encode()
                await asyncio.to_thread(write_durably, self._path, raw)
            except OSError as error:
                logger().error("pins_not_written", why=str(error))
                raise Problem("disk_full", "Steering cannot write its pins.") from None
            self.board = board
            self.revision += 1
