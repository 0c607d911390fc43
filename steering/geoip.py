"""Where addresses are, by a MaxMind database (GeoLite2-City or the like), if one is given."""

from pathlib import Path
from typing import Any

import maxminddb

from media.places import Locate
from runtime.errors import Problem


def open_locator(file: str) -> Locate:
    """Latitude and longitude of addresses; without a file nothing is known. Raises Problem
    `bad_settings` for what is no such database."""
    if not file:
        return lambda address: None
    try:
        reader = maxminddb.open_database(Path(file))
    except (OSError, maxminddb.InvalidDatabaseError) as error:
        raise Problem("bad_settings", f"steering.geoip_file: {file}: {error}.") from None

    def locate(address: str) -> tuple[float, float] | None:
        try:
            return _point(reader.get(address))
        except (ValueError, maxminddb.InvalidDatabaseError):
            return None

    return locate


def _point(record: Any) -> tuple[float, float] | None:
    """What a record says, if it says it rightly."""
    try:
        where = record["location"]
        latitude, longitude = float(where["latitude"]), float(where["longitude"])
    except (KeyError, TypeError, ValueError):
        return None
    return (latitude, longitude) if abs(latitude) <= 90 and abs(longitude) <= 180 else None
