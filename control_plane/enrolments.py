"""How machines join the fleet: invitations, enrolments, and whose keys are trusted.

Machines that were there from the start stand in the key ring on disk; those that enrolled, and
those of either kind that were forgotten, in the database, which has the last word.
"""

import asyncio
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.attempts import Attempts
from control_plane.bell import Bell
from control_plane.clock import Clock
from control_plane.database import Database
from control_plane.tables import InvitationRow, MachineRow
from media.enrolment import (
    MAX_OPEN,
    Enrolled,
    Enrolment,
    Invitation,
    Invitations,
    MachineKeys,
    MadeInvitation,
    NewInvitation,
    TrustedKey,
)
from media.fleet import MAX_MACHINES
from media.keys import Keyring, PublicIdentity
from media.rank import LAST_RESORT
from media.token import TokenRefused, verify_machine_token
from runtime.errors import Problem
from runtime.log import logger
from runtime.state import StateUnavailable

MACHINES = "machines"  # the bell's topic
AUDIENCE = "control"
_KEPT = timedelta(days=1)  # an invitation that has ended can be looked at for so long
_MAX_CREDENTIALS_BYTES = 4096
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_TOLD = ("control", "steering", "appliance")  # the roles that an appliance has to know


@dataclass(frozen=True)
class Surroundings:
    """What a machine is told of where it comes to. `credentials` is a file, or empty."""

    control_plane_url: str
    steering_url: str
    store: str
    credentials: str


class Enrolments:
    """Invitations and machines. `ring` is the file of the machines that need none."""

    def __init__(
        self,
        database: Database,
        attempts: Attempts,
        bell: Bell,
        clock: Clock,
        ring: Path,
        surroundings: Surroundings,
    ) -> None:
        self._database = database
        self._attempts = attempts
        self._bell = bell
        self._clock = clock
        self._ring_path = ring
        self._around = surroundings

    async def invite(self, new: NewInvitation) -> MadeInvitation:
        """One appliance may join; an earlier invitation of the same id opens nothing any more.
        Raises Problem `name_taken` for the id of a machine, `too_many`."""
        ring, now = await self._ring(), self._clock()
        secret = secrets.token_urlsafe(32)
        async with self._database.writing() as session:
            invited = {row.appliance_id for row in await session.scalars(select(InvitationRow))}
            if len(invited) >= MAX_OPEN:
                raise Problem("too_many", f"At most {MAX_OPEN} invitations are kept.")
            machines = await _machines(session)
            if len(machines) + len(list(ring)) >= MAX_MACHINES:
                raise Problem("too_many", f"At most {MAX_MACHINES} machines are kept.")
            keys = _keys(ring, machines)
            taken = {name for name, key in keys.items() if key is not None}
            taken |= {machine.name for machine in ring if machine.role != "appliance"}
            taken.add(LAST_RESORT)
            name = new.appliance_id or _free(new.site, taken | invited)
            if name in taken:
                raise Problem("name_taken", f"There is a machine {name}.")
            row = InvitationRow(
                appliance_id=name,
                site=new.site,
                token_sha256=_sha256(f"{name}.{secret}"),
                used_by=None,
                created_at=now,
                expires_at=now + timedelta(seconds=new.ttl_s),
            )
            await session.merge(row)
        return MadeInvitation(
            **_invitation(row).model_dump(),
            token=f"{name}.{secret}",
            control_plane_url=self._around.control_plane_url,
        )

    async def invitations(self) -> Invitations:
        """All of them, those that ended within a day too; the newest first."""
        newest = select(InvitationRow).order_by(InvitationRow.created_at.desc())
        async with self._database.reading() as session:
            rows = (await session.scalars(newest)).all()
        return Invitations(invitations=tuple(_invitation(row) for row in rows))

    async def withdraw(self, appliance_id: str) -> None:
        """The invitation opens nothing any more; a machine that used it stays. Raises Problem
        `unknown_invitation`."""
        async with self._database.writing() as session:
            row = await session.get(InvitationRow, appliance_id)
            if row is None:
                raise Problem("unknown_invitation")
            await session.delete(row)

    async def enrol(self, enrolment: Enrolment, address: str) -> Enrolled:
        """The machine is trusted, and this is what it has to know. The same one may ask again until
        the invitation ends: it may have lost the answer. Raises Problem `invitation_invalid`,
        `invitation_expired`, `invitation_used`, `name_taken`, `too_many_attempts`; `token_invalid`
        or `token_expired` when it does not prove that the key is its own."""
        token_sha256 = _sha256(enrolment.token)
        try:
            # By token, not by name: nobody can lock a machine out whose name he guesses.
            await self._attempts.begin(token_sha256, address)
            enrolled = await self._enrol(enrolment, token_sha256)
            await self._attempts.succeed(token_sha256, address)
        except StateUnavailable:
            raise Problem("unavailable", "The shared state does not answer.") from None
        self._bell.ring(MACHINES)
        logger().info("enrolled", appliance_id=enrolled.appliance_id, site=enrolled.site)
        return enrolled

    async def _enrol(self, enrolment: Enrolment, token_sha256: str) -> Enrolled:
        name = enrolment.token.partition(".")[0]
        ring = await self._ring()
        credentials = await asyncio.to_thread(_credentials, self._around.credentials)
        async with self._database.writing() as session:
            row = await session.get(InvitationRow, name, with_for_update=True)
            if row is None or not hmac.compare_digest(row.token_sha256, token_sha256):
                raise Problem("invitation_invalid")
            if row.expires_at <= self._clock():
                raise Problem("invitation_expired")
            _check_proof(name, enrolment)
            if row.used_by not in (None, enrolment.ed25519):
                raise Problem("invitation_used")
            machines = await _machines(session)
            known = ring.get(name)
            if known is not None and known.role != "appliance":
                raise Problem("name_taken", f"There is a machine {name}.")
            if _keys(ring, machines).get(name) not in (None, enrolment.ed25519):
                raise Problem("name_taken", f"There is a machine {name}, with another key.")
            row.used_by = enrolment.ed25519
            await session.merge(
                MachineRow(
                    appliance_id=name,
                    site=row.site,
                    ed25519=enrolment.ed25519,
                    public_url=enrolment.public_url,
                    changed_at=self._clock(),
                )
            )
            keys = _keys(ring, machines) | {name: enrolment.ed25519}
        trusted = ring.overruled(keys)
        return Enrolled(
            appliance_id=name,
            site=row.site,
            steering_url=self._around.steering_url,
            store=self._around.store,
            store_credentials=credentials,
            keys=tuple(
                TrustedKey(name=one.name, role=one.role, ed25519=one.ed25519)
                for one in trusted
                if one.role in _TOLD
            ),
        )

    async def forget(self, appliance_id: str) -> None:
        """Nobody trusts the appliance's key any more, and no token of it opens anything. Raises
        Problem `unknown_appliance`."""
        known = (await self._ring()).get(appliance_id)
        async with self._database.writing() as session:
            # The invitation first, as `enrol` does: of two at once one waits for the other.
            invitation = await session.get(InvitationRow, appliance_id, with_for_update=True)
            row = await session.get(MachineRow, appliance_id, with_for_update=True)
            if row is not None and row.ed25519 is None:
                raise Problem("unknown_appliance", f"{appliance_id} was forgotten before.")
            if row is None and (known is None or known.role != "appliance"):
                raise Problem("unknown_appliance", f"There is no appliance {appliance_id}.")
            if invitation is not None:
                await session.delete(invitation)
            if row is None:
                row = MachineRow(appliance_id=appliance_id, site="", public_url=None)
                session.add(row)
            row.ed25519, row.changed_at = None, self._clock()
        self._bell.ring(MACHINES)
        logger().info("forgotten", appliance_id=appliance_id)

    async def keys(self) -> MachineKeys:
        """The keys of all appliances, and None for those that were forgotten; in order, so that
        the same keys are the same bytes."""
        ring = await self._ring()
        async with self._database.reading() as session:
            keys = _keys(ring, await _machines(session))
        return MachineKeys(keys=dict(sorted(keys.items())))

    async def drop_expired(self) -> None:
        """Invitations that ended a day ago are gone."""
        ended = InvitationRow.expires_at < self._clock() - _KEPT
        async with self._database.reading() as session:
            found = await session.scalar(select(func.count()).where(ended))
        if found:
            async with self._database.writing() as session:
                await session.execute(delete(InvitationRow).where(ended))

    async def _ring(self) -> Keyring:
        try:
            return await asyncio.to_thread(Keyring.read, self._ring_path)
        except FileNotFoundError:
            return Keyring([])
        except (OSError, ValueError) as error:
            logger().error("ring_unreadable", why=str(error))
            raise Problem("unavailable", "The control plane cannot read its key ring.") from None


async def _machines(session: AsyncSession) -> list[MachineRow]:
    return list(await session.scalars(select(MachineRow)))


def _keys(ring: Keyring, machines: list[MachineRow]) -> dict[str, str | None]:
    """The keys of appliances by name: the database overrules the ring."""
    keys: dict[str, str | None] = {one.name: one.ed25519 for one in ring if one.role == "appliance"}
    return keys | {row.appliance_id: row.ed25519 for row in machines}


def _free(site: str, taken: set[str]) -> str:
    """The site's first number that nobody has. Raises Problem for a site with too long a name."""
    name = next(name for n in range(1, len(taken) + 2) if (name := f"{site}-{n}") not in taken)
    if len(name) > 32:
        raise Problem("invalid_field", "appliance_id: name it, the site's name is too long.")
    return name


def _check_proof(name: str, enrolment: Enrolment) -> None:
    try:
        machine = PublicIdentity.of(name, "appliance", enrolment.ed25519)
        verify_machine_token(enrolment.proof, Keyring([machine]), AUDIENCE)
    except TokenRefused as refused:
        why = {
            "token_expired": "The proof has expired: the clock of that machine is wrong.",
            "token_invalid": "The proof is not signed with the key that is to be enrolled.",
        }
        raise Problem(refused.code, why[refused.code]) from None
    except ValueError:
        raise Problem("invalid_field", "ed25519: that is no public key.") from None


def _credentials(path: str) -> dict[str, str]:
    """The lines of the file. Raises Problem `bad_settings` when they are others than expected."""
    if not path:
        return {}
    try:
        with Path(path).open(encoding="ascii") as file:
            lines = file.read(_MAX_CREDENTIALS_BYTES).splitlines()
    except (OSError, ValueError) as error:
        logger().error("credentials_unreadable", why=type(error).__name__)
        raise Problem("bad_settings", "The store's credentials for machines are away.") from None
    pairs = dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")
    if not pairs or not pairs.keys() <= set(_CREDENTIALS):
        raise Problem("bad_settings", f"fill_credentials_file has {', '.join(_CREDENTIALS)} alone.")
    return pairs


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _invitation(row: InvitationRow) -> Invitation:
    return Invitation(
        appliance_id=row.appliance_id,
        site=row.site,
        created_at=row.created_at,
        expires_at=row.expires_at,
        used=row.used_by is not None,
    )
