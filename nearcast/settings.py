"""Settings of the local cluster: the table [nearcast] of nearcast.toml."""

from pydantic import Field

from runtime.settings import Settings


class ClusterSettings(Settings):
    """Ports of `nearcast up`; 0 takes a free one. Appliance n of site s is at 127.0.s.n, so
    that each has an address of its own: players leave a failing *host*, not a failing port."""

    control_port: int = Field(8080, ge=0, le=65535, description="Control plane, on 127.0.0.1")
    steering_port: int = Field(8081, ge=0, le=65535, description="Steering, on 127.0.0.1")
    data_port: int = Field(8090, ge=0, le=65535, description="Data port of every appliance")
    admin_port: int = Field(8091, ge=0, le=65535, description="Admin port of every appliance")
    report_interval_s: float = Field(
        1.0, gt=0, le=60, description="Appliances report and look at their plan this often"
    )
    sites: tuple[str, ...] = Field(
        ("north", "south", "west"), min_length=1, description="Sites that appliances stand in"
    )
