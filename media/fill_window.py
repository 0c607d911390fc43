"""The hours in which plans are filled, by the clock on a site's wall. Pure.

A window is the local time of day, so it follows the changes to and from summer time: a night that
leaves out the hour from two to three leaves it out of the window, too, and one that has it twice
fills twice as long in it. It is looked at again and again, never slept through to its end: a clock
that is set does no harm.
"""

import re
from datetime import UTC, datetime, time, tzinfo
from functools import lru_cache
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

# As the names of the IANA database are made: nothing else leads out of its folder.
ZoneName = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9][A-Za-z0-9_+-]*){0,2}$", max_length=64
    ),
]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
_SPAN = re.compile(r"(\d\d:\d\d)-(\d\d:\d\d)")


def zone(name: str) -> tzinfo | None:
    """The time zone of this name; None where this machine has no data of it. UTC needs none."""
    if name == "UTC":
        return UTC
    try:
        return _zone(name)
    except (OSError, ValueError, KeyError):  # not there, not a zone's file, or no such name
        return None


_zone = lru_cache(64)(ZoneInfo)


def known_zone(name: str) -> str:
    """The name of a zone that this machine has data of. Raises ValueError."""
    if zone(name) is None:
        raise ValueError(
            f"this machine knows no time zone {name!r}: look for the name in the IANA database, or "
            "install the zone data (the package tzdata)"
        )
    return name


KnownZone = Annotated[ZoneName, AfterValidator(known_zone)]


class FillWindow(BaseModel):
    """From `start` until `end` of the local time of day, over midnight if `end` comes first. A
    machine without data of the zone takes UTC for it: it fills at another hour, but it fills."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    timezone: ZoneName = "UTC"
    start: TimeOfDay = Field(description="Such as 02:00, included")
    end: TimeOfDay = Field(description="Such as 06:00, excluded")

    @model_validator(mode="after")
    def _takes_some_time(self) -> "FillWindow":
        if self.start == self.end:
            raise ValueError("a window begins and ends at different times; none is always open")
        return self

    @classmethod
    def of(cls, span: str, timezone: str) -> "FillWindow | None":
        """The window of a setting such as `02:00-06:00`; None of an empty one, which is always
        open. Raises ValueError."""
        if not span:
            return None
        found = _SPAN.fullmatch(span)
        if found is None:
            raise ValueError(f"{span!r} is no window such as 02:00-06:00")
        return cls(timezone=timezone, start=found[1], end=found[2])

    def is_open(self, now_s: float) -> bool:
        """Whether it is open at this Unix time."""
        local = datetime.fromtimestamp(now_s, zone(self.timezone) or UTC).time()
        start, end = time.fromisoformat(self.start), time.fromisoformat(self.end)
        if start < end:
            return start <= local < end
        return local >= start or local < end

    def __str__(self) -> str:
        return f"{self.start}-{self.end} {self.timezone}"
