"""The control plane's settings: table `[control_plane]` of nearcast.toml."""

import re
from pathlib import Path

from pydantic import Field, field_validator

from media.objects import MIN_PART_BYTES
from runtime.forwarded import ForwardedHeader, Proxies
from runtime.settings import Settings


class ControlPlaneSettings(Settings):
    """What may be set; every default serves one machine."""

    listen: str = Field("127.0.0.1:8080", description="Address and port of the API and the pages.")
    public_url: str = Field(
        "",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="Where clients reach this service; empty: the address it listens on.",
    )
    trusted_proxies: tuple[str, ...] = Field(
        (), description="Networks (CIDR) of proxies whose word for a client's address counts."
    )
    forwarded_header: ForwardedHeader = Field(
        "X-Forwarded-For", description="The header that they write."
    )
    database: str = Field(
        "", description="SQLAlchemy URL (async); empty: SQLite in the data folder's control.db."
    )
    store: str = Field(
        "", description="Object store, file:///… or s3://…; empty: the data folder's store/."
    )
    state: str = Field(
        "memory:", description="Counters and sign-outs of accounts: memory: or redis://…."
    )
    steering_url: str = Field(
        "http://127.0.0.1:8081", pattern=r"^https?://[^\s?#]+$", description="Where steering is."
    )
    steering_public_url: str = Field(
        "",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="Where machines that enrol reach steering; empty: as we do.",
    )
    fill_credentials_file: str = Field(
        "",
        description="File with the store's key (AWS_…=…) for machines that enrol; empty: none.",
    )
    web: str = Field("", description="Folder of the pages; empty: the repository's web/.")
    simulate_regions: bool = Field(
        True, description="Whether a session may name a region instead of being placed by address."
    )
    cors_origins: tuple[str, ...] = Field(
        (), description='Origins whose pages may use the API, such as "https://tv.example".'
    )
    caller_rate: float = Field(
        1000, gt=0, le=1e6, description="Requests per second of one account, machine or address …"
    )
    caller_burst: float = Field(
        4000, ge=1, le=1e6, description="… and how many at once after a pause."
    )
    access_token_s: int = Field(
        900, ge=60, le=86_400, description="Life of an access token in seconds."
    )
    refresh_token_s: int = Field(
        30 * 86_400,
        ge=300,
        le=400 * 86_400,
        description="Seconds after which a device that nobody uses is signed out.",
    )
    access_key_days: float = Field(
        30, gt=0, le=3650, description="Days after which another key signs access tokens."
    )
    audit_days: float = Field(
        400, gt=0, le=36_500, description="Days for which the audit log keeps a deed."
    )
    session_film_factor: float = Field(
        2.0, ge=1, le=10, description="A session lasts this many times the film …"
    )
    session_extra_s: int = Field(
        4 * 3600, ge=0, le=7 * 86_400, description="… and this many seconds more."
    )
    lease_s: float = Field(
        30.0, gt=0, le=600, description="Seconds that an encoder keeps a job between heartbeats."
    )
    max_attempts: int = Field(
        3, ge=1, le=20, description="Attempts at a job before it counts as failed."
    )
    part_bytes: int = Field(
        16 * 1024**2,
        ge=MIN_PART_BYTES,
        le=512 * 1024**2,
        description="Bytes of an upload's part; more where 10,000 parts would not be enough.",
    )
    upload_s: int = Field(
        24 * 3600,
        ge=60,
        le=7 * 86_400,
        description="Seconds after which an unfinished upload is dropped.",
    )
    login_attempts: int = Field(
        10, ge=1, le=1000, description="Failed log-ins per minute for one name and address."
    )
    # The defaults are the second recommendation of RFC 9106, section 4.
    argon2_passes: int = Field(3, ge=1, le=20, description="Argon2id passes.")
    argon2_memory_kib: int = Field(
        64 * 1024, ge=8, le=4 * 1024**2, description="Argon2id memory in KiB."
    )
    argon2_lanes: int = Field(4, ge=1, le=16, description="Argon2id lanes.")

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not re.fullmatch(r"https?://[a-z0-9.:\[\]-]+", origin):
                raise ValueError(f"{origin!r} is not an origin")
        return origins

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        Proxies(networks)
        return networks

    def proxies(self) -> Proxies:
        """The proxies in front of us."""
        return Proxies(self.trusted_proxies, self.forwarded_header)

    def database_url(self, data: Path) -> str:
        """The database to open for this data folder."""
        return self.database or f"sqlite+aiosqlite:///{(data / 'control.db').resolve()}"

    def store_url(self, data: Path) -> str:
        """The object store to open for this data folder."""
        return self.store or (data / "store").resolve().as_uri()

    def web_folder(self) -> Path:
        """Where the pages are."""
        return Path(self.web) if self.web else Path(__file__).resolve().parent.parent / "web"
