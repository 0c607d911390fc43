"""Wall-clock time, in the milliseconds that the database and the wire keep."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Now, in UTC, cut to whole milliseconds: what is stored reads back equal."""
    now = datetime.now(UTC)
    return now - timedelta(microseconds=now.microsecond % 1000)
