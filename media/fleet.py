"""Wire types between appliances, steering and the control plane.

Counters are cumulative since the boot named by `boot_id`, never "since the last report", so
nothing is lost when a report is. Unknown fields are ignored, so that two versions can talk.
"""

from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from media.fill_window import FillWindow
from media.ids import Name, PackageId, RenditionId, SessionId, Sha256, TitleId
from media.pattern import Pattern

Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s?#]+$", max_length=200)]
ClientAddress = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-fA-F:.]{2,45}$"),
    AfterValidator(lambda text: ip_address(text) and text),  # ValueError: it only looks like one
]
PublicKey = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]  # Ed25519, raw
HealthState = Literal["serving", "strained", "draining", "out"]
# No plan yet; something is missing, and its hours have not come; it is brought; all is held.
PlanState = Literal["none", "waiting", "filling", "filled"]

# A heartbeat is at most 2 KB (DESIGN.md); a larger body is refused before it is parsed.
MAX_REPORT_BYTES = 2048
# Sessions that a report names, about 80 bytes each; the appliance's admin port has them all.
MAX_STARVED = 3
MAX_HELD = 200_000
MAX_PLAN_ITEMS = 100_000
MAX_RENDITIONS = 64  # of a package, as in its inventory
# Of one message, 150 bytes each. An appliance that has sent more sends another message.
MAX_SERVED = 20_000
# Beyond this the readers of JSON disagree, and it is 9 petabytes.
MAX_COUNT = 2**53
# A day's worth for an operator who purges by the minute; an appliance goes through all at once.
MAX_PURGE_ORDERS = 1000
MAX_MACHINES = 20_000  # appliances whose keys travel, those that were forgotten too
MAX_PURGED = 8  # the counts of one order are 50 bytes of the report's 2 KB


class Wire(BaseModel):
    """A message: immutable, unknown fields ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Counters(Wire):
    """What an appliance has done since it booted."""

    requests: int = Field(0, ge=0)
    bytes_out: int = Field(0, ge=0)
    hits: int = Field(0, ge=0)
    misses: int = Field(0, ge=0)
    rejects: int = Field(0, ge=0)
    fill_bytes_peer: int = Field(0, ge=0)  # from appliances of its site
    fill_bytes_tier: int = Field(0, ge=0)  # from those of other sites
    fill_bytes_store: int = Field(0, ge=0)
    fill_failures: int = Field(0, ge=0)
    evictions: int = Field(0, ge=0)
    sheds: int = Field(0, ge=0)


class Quality(Wire):
    """What players have said since the appliance booted (CMCD), as sums and counts: means and
    shares are worked out by who reads them. A session that was forgotten meanwhile counts again."""

    sessions: int = Field(0, ge=0)
    requests: int = Field(0, ge=0)  # with CMCD
    starved_requests: int = Field(0, ge=0)  # the buffer had run empty before them
    starved_sessions: int = Field(0, ge=0)
    startups: int = Field(0, ge=0)
    startup_ms: int = Field(0, ge=0)  # of all start-ups together
    buffers: int = Field(0, ge=0)
    buffer_ms: int = Field(0, ge=0)
    throughputs: int = Field(0, ge=0)
    throughput_kbps: int = Field(0, ge=0)


class StarvedSession(Wire):
    """A session that plays badly: `starved` of its `requests` found its buffer empty."""

    session_id: SessionId
    starved: int = Field(ge=0)
    requests: int = Field(ge=0)


class Purged(Wire):
    """What an appliance found to unlink for an order."""

    serial: int = Field(ge=0)
    files: int = Field(ge=0)


class Report(Wire):
    """What an appliance says of itself, every few seconds (`PUT /v1/reports/{appliance}`).

    `notices_version` is that of the notices it has on disk. All purge orders up to `purged_serial`
    are obeyed: what they named is unlinked, and every live worker has let go of it. `purged` has
    the counts of the latest of them. What the plan misses is known of a package once its inventory
    is here; before, it is one file, and as many bytes as the plan says.
    """

    appliance_id: Name
    site: Name
    url: Url
    boot_id: str = Field(max_length=40)
    sequence: int = Field(ge=0)
    clock: AwareDatetime
    state: HealthState
    bottleneck: str = Field("none", max_length=120)
    load: float = Field(0.0, ge=0, le=10)  # 1.0 = all of its capacity
    capacity_bps: int = Field(gt=0)
    open_connections: int = Field(0, ge=0)
    budget_bytes: int = Field(ge=0)
    used_bytes: int = Field(ge=0)
    plan_version: str = Field("", max_length=64)
    plan_state: PlanState = "none"
    plan_missing_files: int = Field(0, ge=0)
    plan_missing_bytes: int = Field(0, ge=0)
    notices_version: int = Field(0, ge=0)
    purged_serial: int = Field(0, ge=0)
    purged: tuple[Purged, ...] = Field((), max_length=MAX_PURGED)
    counters: Counters = Counters()
    quality: Quality = Quality()
    starved: tuple[StarvedSession, ...] = Field((), max_length=MAX_STARVED)


def fitting(report: Report) -> Report:
    """The report, without the starved sessions when it would be too large with them: they are for
    people to look at, the rest is for steering to act on."""
    large = len(report.model_dump_json(exclude_defaults=True)) > MAX_REPORT_BYTES
    return report.model_copy(update={"starved": ()}) if large else report


class ReportAnswer(Wire):
    """The answer to a report: the sequence of the holdings that steering has of this boot. None, or
    another than the last one sent, means that a snapshot is wanted. `within_s` is how soon the next
    report is to come; 0: as the appliance likes."""

    holdings_sequence: int | None = None
    within_s: float = Field(0.0, ge=0, le=60)


class Held(Wire):
    """How much of a rendition is on disk: 1.0 is complete, 0 takes it off the list."""

    package_id: PackageId
    rendition_id: RenditionId
    fraction: float = Field(ge=0, le=1)


class Holdings(Wire):
    """A change of what an appliance holds (`PUT /v1/holdings/{appliance}`).

    A snapshot replaces everything. A delta follows the one with `sequence - 1`; after a gap
    steering answers 409 `holdings_gap` and the appliance sends a snapshot.
    """

    boot_id: str = Field(max_length=40)
    sequence: int = Field(ge=0)
    snapshot: bool
    held: tuple[Held, ...] = Field(max_length=MAX_HELD)


class Served(Wire):
    """Bytes of a rendition that were sent to viewers since the appliance's boot, and how many of
    them the last message that was taken told of: who has lost count, or has never heard of this
    appliance before, counts from there."""

    package_id: PackageId
    rendition_id: RenditionId
    bytes: int = Field(gt=0, le=MAX_COUNT)
    told: int = Field(0, ge=0, le=MAX_COUNT)


class Demand(Wire):
    """What viewers took (`PUT /v1/demand/{appliance}`): the renditions of which more was sent since
    the last message that was taken. A message that got lost costs nothing, one that comes twice or
    late counts once."""

    boot_id: str = Field(max_length=40)
    sequence: int = Field(ge=0)
    served: tuple[Served, ...] = Field(max_length=MAX_SERVED)


class RenditionRef(Wire):
    """A rendition of a package, and its bytes, file list included."""

    rendition_id: RenditionId
    bytes: int = Field(gt=0)


class PackageRef(Wire):
    """A published package, as the control plane lists it for placement. Without `renditions` it can
    be placed as a whole only."""

    title_id: TitleId
    package_id: PackageId
    inventory_sha256: Sha256
    total_bytes: int = Field(gt=0)
    published_at: AwareDatetime
    renditions: tuple[RenditionRef, ...] = Field((), max_length=MAX_RENDITIONS)


class PackageList(Wire):
    """`GET /v1/packages` of the control plane: everything that may be placed."""

    packages: tuple[PackageRef, ...] = Field(max_length=MAX_PLAN_ITEMS)


class PlanItem(Wire):
    """A package to hold; `renditions` None means all of them, `bytes` in all. An urgent one is
    filled outside the window, too. `sources` are appliances of `Plan.peers` to ask before all
    others, in order; `why` is for people."""

    title_id: TitleId
    package_id: PackageId
    inventory_sha256: Sha256
    renditions: tuple[RenditionId, ...] | None = None
    bytes: int = Field(0, ge=0)
    urgent: bool = False
    sources: tuple[Name, ...] = Field((), max_length=8)
    why: str = Field("", max_length=80)


class Peer(Wire):
    """Another appliance to fill from. One of the asker's own site brings files for it, and so does
    one of another site that is of its `tier`."""

    appliance_id: Name
    url: Url
    site: Name | None = None
    capacity_bps: int = Field(10**9, gt=0)
    tier: bool = False


class Plan(Wire):
    """Desired state of one appliance (`GET /v1/plans/{appliance}`, ETag = `version`).

    Items come in the order in which they are to be filled; peers in the order to ask. Without a
    window they are filled at any time, without a rate as fast as it goes.
    """

    appliance_id: Name
    version: str = Field(max_length=64)
    items: tuple[PlanItem, ...] = Field(max_length=MAX_PLAN_ITEMS)
    peers: tuple[Peer, ...] = Field((), max_length=256)
    window: FillWindow | None = None
    rate_bps: int | None = Field(None, gt=0)


class Purge(Wire):
    """A tombstone: the package is neither served nor filled again until `until`, which lies
    behind the last token that names it."""

    package_id: PackageId
    until: AwareDatetime


class PurgeTarget(Wire):
    """What is to be purged, in one of three ways: all of a title, all of a package, or the files
    that a pattern matches (`media.pattern`). Also the body of `POST /v1/purges` of steering, and
    of `POST /v1/purge` of an appliance."""

    title_id: TitleId | None = None
    package_id: PackageId | None = None
    pattern: Pattern | None = None

    @model_validator(mode="after")
    def _names_one_thing(self) -> "PurgeTarget":
        if sum(x is not None for x in (self.title_id, self.package_id, self.pattern)) != 1:
            raise ValueError("name one of title_id, package_id and pattern")
        return self

    def __str__(self) -> str:
        return self.title_id or self.package_id or str(self.pattern)


class PurgeOrder(PurgeTarget):
    """A purge (RFC 8007, 4): each appliance unlinks once what it holds of the target when it hears
    of it. That may be filled anew afterwards, unless a tombstone forbids it. Serials grow."""

    serial: int = Field(ge=1)


class Notices(Wire):
    """Fast facts (`GET /v1/notices/{appliance}?since=N`, long poll): the whole current document,
    sent when `version` is another than N. `purges` are tombstones, and hold while they stand here;
    `orders` are obeyed once each, those gone from here no more. `keys` overrule the appliances of
    the key ring on disk; null: that one is trusted no more."""

    version: int = Field(ge=0)
    draining: bool = False
    purges: tuple[Purge, ...] = Field((), max_length=100_000)
    orders: tuple[PurgeOrder, ...] = Field((), max_length=MAX_PURGE_ORDERS)
    revoked_sessions: tuple[SessionId, ...] = Field((), max_length=100_000)
    keys: dict[Name, PublicKey | None] = Field({}, max_length=MAX_MACHINES)


class TombstoneRequest(Wire):
    """`PUT /v1/tombstones/{package}` of steering, by the control plane."""

    until: AwareDatetime


class RevokeRequest(Wire):
    """`POST /v1/revocations` of steering, by the control plane: the session's tokens open nothing
    any more. `until` lies behind the last of them."""

    session_id: SessionId
    until: AwareDatetime


class DrainRequest(Wire):
    """`PUT /v1/drains/{appliance}` of steering."""

    draining: bool


class RankRequest(Wire):
    """`POST /v1/rank`. `region` is a simulated region and overrules `client` where settings allow
    it. `session_id` goes into the steering address of the answer, when there is one. Otherwise only
    those are named as skipped that were passed over before the last pathway."""

    package_id: PackageId
    client: ClientAddress | None = None
    region: Name | None = None
    count: int = Field(3, ge=1, le=16)
    session_id: SessionId | None = None
    expires_at: AwareDatetime | None = None
    thorough: bool = False  # say of every appliance why it was passed over


class Pathway(Wire):
    """A ranked appliance. Smaller scores are better; reasons are for people."""

    appliance_id: Name
    site: Name
    region: Name
    url: Url
    score: float
    reasons: tuple[str, ...]

    def base_of(self, base_path: str) -> str:
        """The address of a session's files there. `base_path` is the session's (`/{token}/{key}`),
        of which the address takes the key alone if it has a place for it."""
        if "{key}" in self.url:
            return self.url.replace("{key}", base_path.split("/", 2)[2])
        return self.url.rstrip("/") + base_path


class Skipped(Wire):
    """An appliance that was passed over: H health, C content, D draining, L load."""

    appliance_id: Name
    code: Literal["H", "C", "D", "L"]
    why: str


class RankAnswer(Wire):
    """Pathways, best first; `steering_url`, its context signed, is where players ask again."""

    region: Name
    site: Name | None
    pathways: tuple[Pathway, ...]
    skipped: tuple[Skipped, ...]
    steering_url: str | None = None


class RosterEntry(Wire):
    """The latest word of one appliance, as steering keeps it."""

    report: Report
    region: Name
    age_s: float
    alive: bool
    draining: bool
    packages_held: int


class Roster(Wire):
    """`GET /v1/roster`"""

    appliances: tuple[RosterEntry, ...]


class SteeringManifest(BaseModel):
    """HLS and DASH steering manifest (draft-pantos-content-steering 2.3; ETSI TS 103 998)."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)
    version: Literal[1] = Field(1, alias="VERSION")
    ttl: int = Field(alias="TTL", ge=1)
    reload_uri: str = Field(alias="RELOAD-URI")
    pathway_priority: tuple[str, ...] = Field(alias="PATHWAY-PRIORITY", min_length=1)
