"""What instances of steering tell each other besides the roster: whom they have sent where since
the last reports, how fast networks are, and whom players left. Pure.

Each writes what it knows itself, whole, under its own name, and what others wrote replaces what
they wrote before: so it does no harm when a message comes twice, late or never.
"""

from pydantic import BaseModel, ConfigDict, Field

from media.ids import Name
from steering.doubts import Left
from steering.roster import RosterBook
from steering.throughput import Pace, ThroughputBook

# The networks heard last: 2,000 are 200 KB.
MAX_PACES = 2000
MAX_LEFT = 2000
MAX_BYTES = 4 * 1024**2


class Telemetry(BaseModel):
    """An instance's own words."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    assigned: dict[Name, int] = Field(default_factory=dict)
    paces: tuple[Pace, ...] = ()
    left: tuple[Left, ...] = ()


def words(roster: RosterBook, paces: ThroughputBook, now_s: float) -> Telemetry:
    """What this instance has to say."""
    return Telemetry(
        assigned=roster.assigned,
        paces=tuple(paces.words(now_s)[-MAX_PACES:]),
        left=tuple(roster.doubts.words(now_s)[-MAX_LEFT:]),
    )


def take(
    said: Telemetry, instance: str, roster: RosterBook, paces: ThroughputBook, now_s: float
) -> None:
    """Another instance's words count."""
    roster.hear_assigned(instance, said.assigned)
    paces.hear_all(instance, said.paces, now_s)
    roster.doubts.hear_all(said.left)
