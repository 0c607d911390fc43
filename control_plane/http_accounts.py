"""Handlers of accounts."""

from dataclasses import dataclass
from typing import cast

from pydantic import Field

from control_plane.access_keys import AccessKeys
from control_plane.accounts import Accounts
from control_plane.api_keys import UserApiKeys
from control_plane.audit import Audit
from control_plane.credentials import AccessTokens
from control_plane.devices import UserDevices
from control_plane.plans import UserPlans
from control_plane.playback import Playback
from control_plane.profiles import UserProfiles
from media.accounts import (
    ApiKeys,
    AuditPage,
    Devices,
    Login,
    MadeApiKey,
    NewApiKey,
    NewPassword,
    NewProfile,
    NewUser,
    Plan,
    PlanLimits,
    Plans,
    Profile,
    ProfileChange,
    Profiles,
    Refresh,
    Request,
    Role,
    Rotation,
    Tokens,
    User,
    UserChange,
    UserPage,
)
from media.ids import AuditId, UserId
from runtime.api import Call
from runtime.errors import Problem


class UserQuery(Request):
    """`GET /v1/users`: `cursor` is the last page's `next_cursor`."""

    cursor: UserId | None = None
    limit: int = Field(50, ge=1, le=200)


class AuditQuery(Request):
    """`GET /v1/audit`: `cursor` is the last page's `next_cursor`."""

    cursor: AuditId | None = None
    limit: int = Field(50, ge=1, le=200)


@dataclass(frozen=True)
class AccountParts:
    """What accounts are made of, beside the accounts themselves."""

    access_keys: AccessKeys
    tokens: AccessTokens
    devices: UserDevices
    profiles: UserProfiles
    api_keys: UserApiKeys
    audit: Audit


class AccountsHttp:
    """Signing in, users, and what is theirs."""

    def __init__(
        self, accounts: Accounts, parts: AccountParts, plans: UserPlans, playback: Playback
    ) -> None:
        self._accounts = accounts
        self._playback = playback
        self._access_keys = parts.access_keys
        self._devices = parts.devices
        self._profiles = parts.profiles
        self._api_keys = parts.api_keys
        self._audit = parts.audit
        self._plans = plans

    async def login(self, call: Call) -> Tokens:
        return await self._accounts.sign_in(call.body(Login), call.address)

    async def refresh(self, call: Call) -> Tokens:
        return await self._accounts.refresh(call.body(Refresh).refresh_token)

    async def logout(self, call: Call) -> None:
        await self._devices.sign_out(_user_id(call), _device_id(call))

    async def me(self, call: Call) -> User:
        who = call.who
        return User(user_id=_user_id(call), name=who.name, role=cast(Role, who.role))

    async def change_password(self, call: Call) -> None:
        _device_id(call)
        await self._accounts.change_password(call.who, call.body(NewPassword), call.address)

    async def create_user(self, call: Call) -> User:
        return await self._accounts.create(call.body(NewUser))

    async def users(self, call: Call) -> UserPage:
        query = call.query(UserQuery)
        return await self._accounts.page(query.cursor, query.limit)

    async def user(self, call: Call) -> User:
        return await self._accounts.get(call.path["user_id"])

    async def change_user(self, call: Call) -> User:
        user = await self._accounts.change(call.path["user_id"], call.body(UserChange))
        if user.disabled:
            await self._playback.end_all(user.user_id)
        return user

    async def delete_user(self, call: Call) -> None:
        # Disabled first: no session begins any more, and then it is known which there are to end.
        user = await self._accounts.change(call.path["user_id"], UserChange(disabled=True))
        await self._playback.end_all(user.user_id)
        await self._accounts.delete(user.user_id)

    async def devices(self, call: Call) -> Devices:
        return await self._devices.of(_user_id(call), call.who.device_id)

    async def sign_out(self, call: Call) -> None:
        await self._devices.sign_out(_user_id(call), call.path["device_id"])

    async def profiles(self, call: Call) -> Profiles:
        return await self._profiles.of(_user_id(call))

    async def create_profile(self, call: Call) -> Profile:
        return await self._profiles.create(_user_id(call), call.body(NewProfile))

    async def change_profile(self, call: Call) -> Profile:
        profile_id = call.path["profile_id"]
        return await self._profiles.change(_user_id(call), profile_id, call.body(ProfileChange))

    async def delete_profile(self, call: Call) -> None:
        await self._profiles.delete(_user_id(call), call.path["profile_id"])

    async def api_keys(self, call: Call) -> ApiKeys:
        return await self._api_keys.of(_user_id(call))

    async def create_api_key(self, call: Call) -> MadeApiKey:
        _device_id(call)
        return await self._api_keys.create(call.who, call.body(NewApiKey))

    async def revoke_api_key(self, call: Call) -> None:
        await self._api_keys.revoke(_user_id(call), call.path["key_id"])

    async def plans(self, call: Call) -> Plans:
        return await self._plans.all()

    async def put_plan(self, call: Call) -> Plan:
        return await self._plans.put(call.path["plan"], call.body(PlanLimits))

    async def delete_plan(self, call: Call) -> None:
        await self._plans.delete(call.path["plan"])

    async def rotate(self, call: Call) -> None:
        self._access_keys.rotate(forget=call.body(Rotation).forget)

    async def audit(self, call: Call) -> AuditPage:
        query = call.query(AuditQuery)
        return await self._audit.page(query.cursor, query.limit)


def _user_id(call: Call) -> str:
    """Whose things these are. Machines have none: no route that asks lets them in."""
    user_id = call.who.user_id
    if user_id is None:
        raise Problem("not_allowed")
    return user_id


def _device_id(call: Call) -> str:
    """The device that asks: whoever stole an API key can neither make more nor change passwords."""
    device_id = call.who.device_id
    if device_id is None:
        raise Problem("not_allowed", "An API key may not do that: sign in.")
    return device_id
