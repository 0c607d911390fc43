"""Wire types: what has to fit."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from media.fleet import (
    MAX_REPORT_BYTES,
    MAX_STARVED,
    Counters,
    Plan,
    Quality,
    RankRequest,
    Report,
    StarvedSession,
    fitting,
)
from media.ids import id_from

P = id_from("pkg", 1_700_000_000_000, 1)
MOST = 2**53  # beyond this JSON's readers disagree


def test_a_client_s_address_is_one() -> None:
    for good in ("192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7"):
        assert RankRequest(package_id=P, client=good).client == good
    for bad in ("999.1.1.1", "192.0.2", "bad", ":::", ""):  # most look like one
        with pytest.raises(ValidationError):
            RankRequest(package_id=P, client=bad)


def test_the_largest_report_fits() -> None:
    counters = Counters.model_validate(dict.fromkeys(Counters.model_fields, MOST))
    quality = Quality.model_validate(dict.fromkeys(Quality.model_fields, MOST))
    report = Report(
        appliance_id="a" * 32,
        site="s" * 32,
        url="https://" + "u" * 192,
        boot_id="b" * 40,
        sequence=MOST,
        clock=datetime.now(UTC),
        state="draining",
        bottleneck="b" * 120,
        load=9.9999,
        capacity_bps=MOST,
        open_connections=MOST,
        budget_bytes=MOST,
        used_bytes=MOST,
        plan_version="p" * 64,
        plan_state="waiting",
        plan_missing_files=MOST,
        plan_missing_bytes=MOST,
        notices_version=MOST,
        counters=counters,
        quality=quality,
        starved=tuple(
            StarvedSession(session_id=id_from("ses", 0, number), starved=MOST, requests=MOST)
            for number in range(MAX_STARVED)
        ),
    )
    assert len(report.model_dump_json(exclude_defaults=True)) <= MAX_REPORT_BYTES
    assert Report.model_validate_json(report.model_dump_json(exclude_defaults=True)) == report


def test_what_people_look_at_gives_way() -> None:
    session = StarvedSession(session_id=id_from("ses", 0, 1), starved=1, requests=2)
    report = Report(
        appliance_id="a", site="s", url="http://a:1", boot_id="b", sequence=1, state="serving",
        clock=datetime.now(UTC), capacity_bps=1, budget_bytes=1, used_bytes=0, starved=(session,),
    )  # fmt: skip
    assert fitting(report) == report
    # Nothing that a report may hold today is as long; what is added later may be.
    longer = report.model_copy(update={"bottleneck": "b" * (MAX_REPORT_BYTES - 250)})
    assert fitting(longer).starved == () and fitting(longer).bottleneck == longer.bottleneck


def test_a_report_of_an_older_appliance_is_understood() -> None:
    old = {
        "appliance_id": "a", "site": "s", "url": "http://a:1", "boot_id": "b", "sequence": 1,
        "clock": "2026-01-01T00:00:00Z", "state": "serving", "capacity_bps": 1, "budget_bytes": 1,
        "used_bytes": 0, "counters": {"requests": 3},
    }  # fmt: skip
    report = Report.model_validate(old)
    assert report.quality == Quality() and report.starved == () and report.counters.sheds == 0
    assert (report.plan_state, report.plan_missing_bytes) == ("none", 0)


def test_a_plan_of_an_older_steering_is_understood() -> None:
    item = {"title_id": id_from("ttl", 1, 1), "package_id": P, "inventory_sha256": "0" * 64}
    plan = Plan.model_validate({"appliance_id": "a", "version": "1", "items": [item]})
    assert (plan.window, plan.rate_bps) == (None, None)
    assert not plan.items[0].urgent and plan.items[0].sources == ()
    with pytest.raises(ValidationError):
        Plan.model_validate({"appliance_id": "a", "version": "1", "items": [], "rate_bps": 0})
