"""A world that is played in a second."""

from typing import Any

from lab.simulate.scenario import Scenario

_TABLES: dict[str, Any] = {
    "name": "tiny",
    "clock": {"warmup_days": 1, "days": 2, "part_s": 1800},
    "films": {
        "titles": 120,
        "minutes": (20, 100),
        "rung_mbps": (1.0, 4.0),
        "audio_mbps": (0.128,),
        "launches_per_day": 2,
    },
    "viewing": {"sessions_per_day": 3000, "rung_share": (0.3, 0.7), "audio_share": (1.0,)},
    "net": {"regions": 2, "zones_h": (0, 1), "sites": 4, "appliances": 2, "disk_share": 0.2},
    "filling": {"nightly_share": 0.1},
}


def tiny(**changes: Any) -> Scenario:
    """With these changes: of tables, keys; of the rest, values."""
    tables = {
        name: changes[name]
        if name in changes and not isinstance(table, dict)
        else {**table, **changes.get(name, {})}
        if isinstance(table, dict)
        else table
        for name, table in _TABLES.items()
    }
    rest = {name: value for name, value in changes.items() if name not in _TABLES}
    return Scenario.model_validate(tables | rest)
