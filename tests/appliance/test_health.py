"""Health is the worst bottleneck."""

import pytest

from appliance.health import Vitals, judge

WELL = Vitals(egress_load=0.1, connection_load=0.2, disk_ok=True, workers_alive=1, draining=False)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, "serving"),
        ({"egress_load": 0.9}, "strained"),
        ({"connection_load": 0.85}, "strained"),
        ({"disk_ok": False}, "strained"),
        ({"draining": True, "egress_load": 0.9}, "draining"),
        ({"workers_alive": 0, "draining": True}, "out"),
    ],
)
def test_states(change: dict[str, object], state: str) -> None:
    health = judge(Vitals(**{**WELL.__dict__, **change}))  # type: ignore[arg-type]
    assert health.state == state
    assert (health.bottleneck == "none") == (state == "serving")
