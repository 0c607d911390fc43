"""What a simulated world is like: the TOML files beside this one, or one of the user's."""

import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from media.places import Atlas, Region, Site
from runtime.errors import Problem

FOLDER = Path(__file__).parent / "scenarios"
MAX_SCENARIO_BYTES = 1024 * 1024
DAY_S = 86_400

# Bounds, so that no scenario takes all memory: some gigabytes at most, together.
MAX_FILES = 300_000_000  # of the catalog; four bytes each
MAX_AT_ONCE = 3_000_000  # viewers at the peak; 500 bytes each
MAX_APPLIANCES = 20_000
MAX_SHELVED = 4_000_000_000  # renditions at appliances; a byte each, where there is a plan
MAX_WATCHED = 50_000_000  # renditions in regions, and titles at sites; some tens of bytes each
_PEAK = 4.0  # the busiest hour against the mean, at most

Share = Annotated[float, Field(ge=0, le=1)]
Minutes = Annotated[float, Field(ge=1, le=1440)]
Mbps = Annotated[float, Field(gt=0, le=1000)]
Hours = Annotated[float, Field(ge=-24, le=24)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Clock(_Table):
    """How long, and how finely. In each tick of `part_s` a viewer asks for the segments of one
    part of the film, which caches hold and lose together. With `cohorts`, viewers at a site who
    want the same part at once ask for it once, as many as they are; without, each asks by himself,
    in turns. With parts of one segment, and without cohorts, nothing is put together. Parts are
    short enough when what comes in one tick is little beside the disks."""

    warmup_days: int = Field(3, ge=0, le=60)
    days: int = Field(14, ge=1, le=366)
    segment_s: int = Field(4, ge=1, le=60)
    part_s: int = Field(900, ge=1, le=DAY_S)
    cohorts: bool = True

    @model_validator(mode="after")
    def _divides(self) -> "Clock":
        if DAY_S % self.part_s or self.part_s % self.segment_s:
            raise ValueError("part_s must be whole segments, and divide the day")
        return self

    @property
    def ticks_a_day(self) -> int:
        """Ticks."""
        return DAY_S // self.part_s


class Films(_Table):
    """The catalog: always so many titles, of `minutes` from the shortest to the longest, each in
    all rungs and all languages. `launches_per_day` new ones take the places of the least watched.
    """

    titles: int = Field(10_000, ge=1, le=1_000_000)
    minutes: tuple[Minutes, Minutes] = (20.0, 140.0)
    rung_mbps: tuple[Mbps, ...] = Field(min_length=1, max_length=30)
    audio_mbps: tuple[Mbps, ...] = Field(min_length=1, max_length=30)
    launches_per_day: int = Field(20, ge=0, le=1_000_000)

    @model_validator(mode="after")
    def _ascends(self) -> "Films":
        if self.minutes[0] > self.minutes[1]:
            raise ValueError("the shortest film is longer than the longest")
        return self


class Viewing(_Table):
    """Who watches what. Title number n of a day has 1 / n ** `zipf` of the views. Its place moves
    from day to day (`drift`, the deviation of the logarithm of its weight), differs by region
    (`regional`, likewise), and a launch begins `launch_boost` times as high as it ends, losing
    `launch_fade` of that a day. The operator's guess at a launch is off by a factor whose logarithm
    deviates by `guess_error`. Of those who begin `stays_first` are there after 15 minutes, and of
    them `stays` after each 15 more."""

    sessions_per_day: int = Field(ge=1, le=1_000_000_000)
    zipf: float = Field(1.0, ge=0, le=3)
    drift: float = Field(0.1, ge=0, le=5)
    regional: float = Field(0.5, ge=0, le=5)
    launch_boost: float = Field(4.0, ge=1, le=1000)
    launch_fade: Share = 0.2
    guess_error: float = Field(0.5, ge=0, le=5)
    rung_share: tuple[Share, ...] = Field(max_length=30)
    audio_share: tuple[Share, ...] = Field(max_length=30)
    stays_first: Share = 0.7
    stays: Share = 0.92
    peak_hour: float = Field(21.0, ge=0, lt=24)
    night: Share = 0.08  # of the peak's rate, at the quietest


class Net(_Table):
    """Where: `regions`, whose clocks are `zones_h` ahead (in turn), `sites` spread over them, with
    `appliances` at each. A site's disks have `disk_share` of the catalog's bytes; its appliances
    can send `headroom` times the mean rate of its viewers. The largest site has `largest` times the
    viewers of the smallest."""

    regions: int = Field(ge=1, le=1000)
    zones_h: tuple[Hours, ...] = Field((0.0,), min_length=1, max_length=1000)
    sites: int = Field(ge=1, le=5000)
    appliances: int = Field(2, ge=1, le=100)
    disk_share: float = Field(0.1, gt=0, le=2)
    headroom: float = Field(6.0, gt=0, le=1000)
    largest: float = Field(10.0, ge=1, le=1e6)

    @model_validator(mode="after")
    def _is_inhabited(self) -> "Net":
        if self.sites < self.regions:
            raise ValueError("each region has a site")
        return self


class Filling(_Table):
    """When and how much may be filled: at `hour` local time, so much of a site's disks a night in
    the place of other files; what is free may be filled at once."""

    hour: float = Field(3.0, ge=0, lt=24)
    nightly_share: Share = 0.05


class Outage(_Table):
    """A site whose appliances are away for a while. Hours count from the end of the warm-up."""

    site: int = Field(ge=0)
    from_hour: float = Field(ge=0, le=366 * 24)
    hours: float = Field(gt=0, le=366 * 24)


class Launch(_Table):
    """A title that comes at the end of a day and is `boost` times as popular as the first."""

    day: int = Field(ge=0)
    boost: float = Field(1.0, gt=0, le=1000)


class Scenario(_Table):
    """A world."""

    name: str = Field(max_length=80)
    about: str = Field("", max_length=1000)
    clock: Clock = Clock()
    films: Films
    viewing: Viewing
    net: Net
    filling: Filling = Filling()
    outages: tuple[Outage, ...] = Field((), max_length=100)
    launches: tuple[Launch, ...] = Field((), max_length=100)

    @model_validator(mode="after")
    def _agrees(self) -> "Scenario":
        for shares, of in (
            (self.viewing.rung_share, self.films.rung_mbps),
            (self.viewing.audio_share, self.films.audio_mbps),
        ):
            if len(shares) != len(of) or abs(sum(shares) - 1) > 1e-6:
                raise ValueError("each rung and each language has a share of viewing, 1 together")
        if any(outage.site >= self.net.sites for outage in self.outages):
            raise ValueError("an outage is at no site")
        if self.films.launches_per_day + len(self.launches) > self.films.titles:
            raise ValueError("more titles are launched in a day than there are")
        for what, many, most in self._sizes():
            if many > most:
                raise ValueError(f"{many:,.0f} {what} are too many; {most:,} would do")
        return self

    def _sizes(self) -> Iterator[tuple[str, float, int]]:
        """What takes memory, how much there is of it, and how much there may be."""
        films, net = self.films, self.net
        rows = films.titles * (len(films.rung_mbps) + len(films.audio_mbps))
        longest_s = films.minutes[1] * 60
        appliances = net.sites * net.appliances
        yield "files of films", rows * math.ceil(longest_s / self.clock.part_s), MAX_FILES
        yield "appliances", appliances, MAX_APPLIANCES
        yield "renditions at appliances", rows * appliances, MAX_SHELVED
        yield "renditions in regions", rows * net.regions, MAX_WATCHED
        yield "titles at sites", films.titles * net.sites, MAX_WATCHED
        watching_s = max(longest_s, self.clock.part_s)
        viewers = self.viewing.sessions_per_day * watching_s / DAY_S * _PEAK
        yield "viewers at once", viewers, MAX_AT_ONCE

    def atlas(self) -> Atlas:
        """Regions in a row 500 km apart, and their sites."""
        regions = [
            Region(
                id=f"r{number}",
                name=f"Region {number}",
                latitude=50.0,
                longitude=(number * 7.0 + 180) % 360 - 180,
            )
            for number in range(self.net.regions)
        ]
        sites = [
            Site(id=f"s{number}", region=regions[number % len(regions)].id)
            for number in range(self.net.sites)
        ]
        return Atlas(regions, sites)


def read(name: str) -> Scenario:
    """The scenario of that name, or in that file. Raises Problem."""
    path = FOLDER / f"{name}.toml"
    if not path.is_file():
        path = Path(name)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_SCENARIO_BYTES + 1)
    except OSError as error:
        known = ", ".join(sorted(found.stem for found in FOLDER.glob("*.toml")))
        raise Problem(
            "invalid_field", f"There is no scenario {name} ({error.strerror}); there are {known}."
        ) from None
    try:
        if len(raw) > MAX_SCENARIO_BYTES:
            raise ValueError("it is too large")
        return Scenario.model_validate(tomllib.loads(raw.decode()))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Problem("invalid_field", f"{path}: {where}: {first['msg']}.") from None
    except ValueError as error:
        raise Problem("invalid_field", f"{path}: {error}.") from None
