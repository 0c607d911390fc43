"""Wire types of plans and their filling, as operators see them, and of pins."""

from pydantic import AwareDatetime, Field

from media.fill_window import FillWindow
from media.fleet import Plan, PlanItem, PlanState, Wire
from media.ids import Name, PackageId, TitleId

MAX_PINS = 10_000


class FillPlan(Plan):
    """A plan, as operators see it (`GET /v1/fleet/{appliance}/plan` of the control plane), with the
    best of what was left out: what comes next, had the appliance more room or the night more
    bytes."""

    left_out: tuple[PlanItem, ...] = Field((), max_length=100)


class PinRequest(Wire):
    """`POST /v1/fills/{package}` of steering: the package is in the plans, before all that viewers
    ask for. `sites` and `regions` name where; neither means everywhere. `boost` is how many times
    its bytes viewers are expected to take in a day before they have shown it themselves."""

    urgent: bool = True
    sites: tuple[Name, ...] = Field((), max_length=1000)
    regions: tuple[Name, ...] = Field((), max_length=1000)
    boost: float = Field(0.0, ge=0, le=1_000_000)


class Pin(PinRequest):
    """A pin that stands."""

    package_id: PackageId
    made_at: AwareDatetime


class ApplianceFill(Wire):
    """How far an appliance is with its plan, by its latest report. Of an appliance that has not
    asked for its plan since steering began, `items` and `wanted_bytes` are 0."""

    appliance_id: Name
    site: Name
    region: Name
    alive: bool
    state: PlanState
    plan_version: str
    is_current: bool  # it follows the newest plan that was made for it
    items: int
    wanted_bytes: int
    missing_bytes: int
    missing_files: int
    window: FillWindow | None
    window_open: bool
    rate_bps: int | None


class PackageFill(Wire):
    """The copies of a package: how many plans want it, and how many appliances hold it whole. It is
    live once enough copies stand."""

    title_id: TitleId
    package_id: PackageId
    total_bytes: int
    wanted_by: int
    held_by: int
    live: bool
    pin: Pin | None = None


class FillStatus(Wire):
    """`GET /v1/fills`"""

    appliances: tuple[ApplianceFill, ...]
    packages: tuple[PackageFill, ...]
    pins: tuple[Pin, ...] = ()  # those of packages that are not published, too
