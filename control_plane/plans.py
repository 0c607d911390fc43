"""Plans: what accounts may play. An account without one may play everything."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from control_plane.database import Database
from control_plane.entitlement import Limits
from control_plane.tables import PlanRow
from media.accounts import Plan, PlanLimits, Plans
from runtime.errors import Problem


class UserPlans:
    """All plans, by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Plans:
        """Every plan, by name."""
        async with self._database.reading() as session:
            rows = (await session.scalars(select(PlanRow).order_by(PlanRow.name))).all()
        return Plans(plans=tuple(_plan(row) for row in rows))

    async def put(self, name: str, limits: PlanLimits) -> Plan:
        """The plan of this name has these limits; sessions that run keep theirs."""
        async with self._database.writing() as session:
            row = await session.get(PlanRow, name, with_for_update=True) or PlanRow(name=name)
            row.max_height, row.streams = limits.max_height, limits.streams
            row.codecs, row.regions = joined(limits.codecs), joined(limits.regions)
            session.add(row)
        return _plan(row)

    async def delete(self, name: str) -> None:
        """There is no such plan. Raises Problem `unknown_plan`, `in_use`."""
        try:
            async with self._database.writing() as session:
                row = await session.get(PlanRow, name)
                if row is None:
                    raise Problem("unknown_plan")
                await session.delete(row)
        except IntegrityError:
            raise Problem("in_use", "Accounts have this plan.") from None


def limits_of(row: PlanRow | None) -> Limits:
    """What a plan allows; everything without one."""
    if row is None:
        return Limits()
    return Limits(row.max_height, split(row.codecs), row.streams, split(row.regions))


def split(text: str | None) -> tuple[str, ...] | None:
    """A list that is kept as text; None for none, which limits nothing."""
    return None if text is None else tuple(word for word in text.split(",") if word)


def joined(words: Iterable[str] | None) -> str | None:
    """A list as the text that `split` reads."""
    return None if words is None else ",".join(words)


def _plan(row: PlanRow) -> Plan:
    return Plan.model_validate(
        {
            "name": row.name,
            "max_height": row.max_height,
            "codecs": split(row.codecs),
            "streams": row.streams,
            "regions": split(row.regions),
        }
    )
