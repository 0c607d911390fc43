"""Settings of an appliance: the table [appliance] of nearcast.toml."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from appliance.evict import Admission, PolicyName
from runtime.settings import Settings

# A flag or the environment may write a list as plain text.
PathList = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda given: given.split(",") if isinstance(given, str) else given),
]


class ApplianceSettings(Settings):
    """Every key with its default; sizes in bytes, times in seconds."""

    site: str = Field("north", description="The site this appliance stands in")
    listen: str = Field("127.0.1.1:8090", description="Data port, for players and peers")
    tls_listen: str = Field("", description="TLS port, such as 127.0.1.1:8443; empty: none")
    tls_cert: str = Field("", description="Certificate chain of the TLS port, PEM")
    tls_key: str = Field("", description="Its key, PEM; both are read anew when they change")
    admin_listen: str = Field("127.0.1.1:8091", description="Admin port, for operators")
    public_url: str = Field("", description="Address that players use; empty: the data port's own")
    store: str = Field("", description="Object store to fill from; empty: file://DATA/store")
    steering_url: str = Field("http://127.0.0.1:8081", description="Where to report and ask")
    workers: int = Field(1, ge=1, le=64, description="Processes that serve; about one per core")
    cache_dirs: PathList = Field(
        (), description="Cache folders, PATH or PATH=BYTES; none: DATA/appliances/{instance}/cache"
    )
    budget_bytes: int = Field(
        10 * 1024**3, ge=1024**2, description="Bytes of the cache, fills in flight included"
    )
    policy: PolicyName = Field("lru", description="What leaves first: lru, sieve or s3fifo")
    admission: Admission = Field(
        "all", description="second_hit: what comes for the first time is on probation; or all"
    )
    scrub_bytes_per_s: int = Field(
        8 * 1024**2, ge=0, description="Held files are read and checked again; 0: they are not"
    )
    capacity_bps: int = Field(
        1_000_000_000, gt=0, description="Bits per second it can send; load is measured against it"
    )
    report_interval_s: float = Field(5.0, gt=0, le=60, description="Between two reports")
    demand_interval_s: float = Field(
        60.0, gt=0, le=3600, description="Between two words to steering of what viewers took"
    )
    plan_poll_s: float = Field(5.0, gt=0, le=3600, description="Between two looks at the plan")
    fill_concurrency: int = Field(8, ge=1, le=256, description="Files filled at once by the plan")
    early_fills: int = Field(
        8, ge=0, le=256, description="Files brought at once before anyone asks; 0: none"
    )
    fill_stall_s: float = Field(5.0, gt=0, description="A source that sends nothing is left")
    max_connections: int = Field(20_000, ge=1, description="Open connections per worker")
    max_connections_per_address: int = Field(2_000, ge=1, description="The same from one address")
    pace_bps: int = Field(0, ge=0, description="Bits per second to one connection; 0: no limit")
    idle_timeout_s: float = Field(60.0, gt=0, description="A silent connection is closed")
    request_timeout_s: float = Field(10.0, gt=0, description="A request head has to be whole by")
    send_stall_s: float = Field(20.0, gt=0, description="A reader that takes nothing is dropped")
    open_files: int = Field(4096, ge=16, description="Descriptors that a worker keeps open")
    access_log: bool = Field(True, description="One JSON line per request in DATA/logs")
