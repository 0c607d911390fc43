"""Steering's HTTP API as a table."""

from typing import Any

from media.fills import FillStatus, Pin, PinRequest
from media.fleet import (
    MAX_REPORT_BYTES,
    Demand,
    DrainRequest,
    Holdings,
    Notices,
    Plan,
    PurgeTarget,
    RankAnswer,
    RankRequest,
    Report,
    ReportAnswer,
    RevokeRequest,
    Roster,
    SteeringManifest,
    TombstoneRequest,
)
from media.ids import JobId, Name, PackageId
from media.places import Geography
from media.purges import PurgeDetails, PurgeJobs
from runtime.api import Route
from runtime.openapi import described
from steering.manifests import SteerQuery
from steering.server import Health, Since, Steering
from steering.steer import MANIFEST_TYPE

# A snapshot of MAX_HELD renditions is 25 MB; only enrolled appliances may send one.
MAX_HOLDINGS_BYTES = 32 * 1024 * 1024
MAX_DEMAND_BYTES = 4 * 1024 * 1024  # MAX_SERVED figures of 150 bytes
_APPLIANCE: dict[str, Any] = {"appliance": Name}
_PACKAGE: dict[str, Any] = {"package": PackageId}
_JOB: dict[str, Any] = {"job": JobId}


def routes(steering: Steering) -> list[Route]:
    """The whole API."""
    appliance, control = frozenset({"appliance"}), frozenset({"control"})
    table = [
        Route(
            "PUT", "/v1/reports/{appliance}", steering.take_report, "Takes an appliance's report",
            answer=ReportAnswer, body=Report, params=_APPLIANCE, roles=appliance,
            errors=("overloaded",), max_body_bytes=MAX_REPORT_BYTES,
        ),
        Route(
            "PUT", "/v1/holdings/{appliance}", steering.take_holdings, "Takes what it holds",
            body=Holdings, params=_APPLIANCE, roles=appliance,
            errors=("holdings_gap",), max_body_bytes=MAX_HOLDINGS_BYTES,
        ),
        Route(
            "PUT", "/v1/demand/{appliance}", steering.take_demand, "Takes what viewers took of it",
            body=Demand, params=_APPLIANCE, roles=appliance, errors=("unknown_appliance",),
            max_body_bytes=MAX_DEMAND_BYTES,
        ),
        Route(
            "GET", "/v1/plans/{appliance}", steering.give_plan, "What the appliance should hold",
            answer=Plan, params=_APPLIANCE, roles=appliance | control,
            errors=("unknown_appliance", "unavailable"),
        ),
        Route(
            "GET", "/v1/fills", steering.give_fills, "How far the plans are filled",
            answer=FillStatus, roles=control,
        ),
        Route(
            "POST", "/v1/fills/{package}", steering.pin, "Pins a package: plans have it first",
            answer=Pin, body=PinRequest, params=_PACKAGE, roles=control,
            errors=("unknown_site", "unknown_region", "purged", "too_many", "disk_full"),
        ),
        Route(
            "DELETE", "/v1/fills/{package}", steering.unpin, "Lifts the pin of a package",
            params=_PACKAGE, roles=control, errors=("disk_full",),
        ),
        Route(
            "GET", "/v1/notices/{appliance}", steering.give_notices, "Fast facts, by long poll",
            answer=Notices, query=Since, params=_APPLIANCE, roles=appliance,
        ),
        Route(
            "POST", "/v1/rank", steering.give_ranking, "Appliances for a viewer, best first",
            answer=RankAnswer, body=RankRequest, roles=control, traced="continues",
            errors=("unknown_region", "purged"),
        ),
        Route(
            "GET", "/v1/geography", steering.give_geography, "Regions, sites, and their networks",
            answer=Geography, roles=control,
        ),
        Route(
            "GET", "/v1/roster", steering.give_roster, "The latest word of every appliance",
            answer=Roster, roles=control,
        ),
        Route(
            "PUT", "/v1/drains/{appliance}", steering.drain, "Begins or ends a drain",
            body=DrainRequest, params=_APPLIANCE, roles=control,
            errors=("unknown_appliance", "disk_full", "overloaded"),
        ),
        Route(
            "PUT", "/v1/tombstones/{package}", steering.entomb,
            "A package was deleted: it is purged, and served no more",
            body=TombstoneRequest, params=_PACKAGE, roles=control,
            errors=("disk_full", "overloaded"),
        ),
        Route(
            "POST", "/v1/purges", steering.purge, "Has all appliances drop what they hold of it",
            answer=PurgeDetails, body=PurgeTarget, status=201, roles=control,
            errors=("disk_full", "overloaded"),
        ),
        Route(
            "GET", "/v1/purges", steering.give_purges, "Purges, the newest first",
            answer=PurgeJobs, roles=control,
        ),
        Route(
            "GET", "/v1/purges/{job}", steering.give_purge, "A purge, appliance by appliance",
            answer=PurgeDetails, params=_JOB, roles=control, errors=("unknown_purge",),
        ),
        Route(
            "POST", "/v1/purges/{job}/cancel", steering.cancel_purge,
            "Who has not begun a purge never will", answer=PurgeDetails, params=_JOB,
            roles=control, errors=("unknown_purge", "disk_full"),
        ),
        Route(
            "POST", "/v1/revocations", steering.revoke, "Ends a session on all appliances",
            body=RevokeRequest, roles=control, errors=("disk_full", "overloaded"),
        ),
        Route(
            "GET", "/steer/{token}", steering.desk.steer, "Steering manifest of a session",
            query=SteerQuery, answer=SteeringManifest, media_type=MANIFEST_TYPE,
            errors=("token_invalid",),
        ),
        Route(
            "OPTIONS", "/steer/{token}", steering.desk.allow_page,
            "Lets pages of other origins ask",
        ),
        Route("GET", "/healthz", steering.health, "Whether the process lives", answer=Health),
        Route("GET", "/readyz", steering.health, "Whether it takes work", answer=Health),
        Route(
            "GET", "/metrics", steering.give_metrics, "Counters, for Prometheus",
            media_type="text/plain",
        ),
    ]  # fmt: skip
    return described(table, "Nearcast steering", "1")
