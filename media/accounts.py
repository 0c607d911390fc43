"""Wire types of accounts: users, how they sign in, their devices, profiles and API keys.

Requests refuse unknown fields, so that nobody gives himself a role by the way.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from media.ids import ApiKeyId, AuditId, DeviceId, Name, ProfileId, UserId

Role = Literal["viewer", "operator", "admin"]
Codec = Literal["avc", "hevc", "av1", "vp9"]

# Text without control characters: terminals obey some, and PostgreSQL keeps no NUL.
Plain = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
Password = Annotated[str, StringConstraints(min_length=10, max_length=256)]
UserName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._@-]{1,64}$")]
Label = Annotated[Plain, Field(min_length=1, max_length=100)]
# The age from which a film may be seen, or up to which a profile may see films.
Age = Annotated[int, Field(ge=0, le=21)]

MAX_PROFILES = 8
MAX_DEVICES = 50
MAX_API_KEYS = 50


class Request(BaseModel):
    """A request body."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Answer(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Change(Request):
    """A change of the fields that are given, at least one; those left out stay as they are. Null is
    a value where a field can be unset, and none for those of `always_set`."""

    always_set: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="after")
    def _changes_something(self) -> "Change":
        if not self.model_fields_set:
            raise ValueError("nothing is to be changed")
        for name in sorted(self.always_set & self.model_fields_set):
            if getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        return self

    @model_serializer(mode="wrap")
    def _only_what_is_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {k: v for k, v in dump(self).items() if k in self.model_fields_set}

    def given(self) -> dict[str, Any]:
        """The fields that were given, with their values."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Login(Request):
    """`POST /v1/auth/login`. `device` is what the list of devices will call this one."""

    name: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=256)
    device: Plain = Field("", max_length=100)


class Tokens(Answer):
    """A short-lived access token, for `Authorization: Bearer`, and the refresh token that gets the
    next one: once, for it is replaced each time. One that is shown again signs its device out."""

    access_token: str
    expires_at: AwareDatetime
    refresh_token: str
    refresh_expires_at: AwareDatetime


class Refresh(Request):
    """`POST /v1/auth/refresh`"""

    refresh_token: str = Field(min_length=1, max_length=200)


class PlanLimits(Request):
    """`PUT /v1/plans/{plan}`: what accounts with this plan may play. None limits nothing."""

    max_height: int | None = Field(None, ge=100, le=10_000)
    codecs: tuple[Codec, ...] | None = Field(None, min_length=1, max_length=8)
    streams: int | None = Field(None, ge=1, le=1000)  # at the same time
    regions: tuple[Name, ...] | None = Field(None, min_length=1, max_length=100)


class Plan(Answer):
    """A plan, by its name."""

    name: Name
    max_height: int | None
    codecs: tuple[Codec, ...] | None
    streams: int | None
    regions: tuple[Name, ...] | None


class Plans(Answer):
    """`GET /v1/plans`"""

    plans: tuple[Plan, ...]


class NewUser(Request):
    """`POST /v1/users`. Without a plan everything may be played."""

    name: UserName
    password: Password
    role: Role = "viewer"
    plan: Name | None = None


class UserChange(Change):
    """`PATCH /v1/users/{user_id}`. A new role or password, or being disabled, signs the user out
    everywhere."""

    role: Role | None = None
    password: Password | None = None
    disabled: bool | None = None
    plan: Name | None = None

    always_set = frozenset({"role", "password", "disabled"})


class NewPassword(Request):
    """`PUT /v1/me/password`: all other devices are signed out."""

    old: str = Field(min_length=1, max_length=256)
    new: Password


class User(Answer):
    """An account without its secret."""

    user_id: UserId
    name: str
    role: Role
    disabled: bool = False
    plan: Name | None = None
    created_at: AwareDatetime | None = None


class UserPage(Answer):
    """Users, the newest first; `next_cursor` None at the end."""

    users: tuple[User, ...]
    next_cursor: str | None


class Device(Answer):
    """Where a user is signed in. `current` is the one that asks."""

    device_id: DeviceId
    name: str
    created_at: AwareDatetime
    seen_at: AwareDatetime  # when it last got tokens
    current: bool


class Devices(Answer):
    """`GET /v1/devices`, the last seen first."""

    devices: tuple[Device, ...]


class NewProfile(Request):
    """`POST /v1/profiles`. `maturity`: only films for this age or below; None: all."""

    name: Label
    maturity: Age | None = None


class ProfileChange(Change):
    """`PATCH /v1/profiles/{profile_id}`"""

    name: Label | None = None
    maturity: Age | None = None

    always_set = frozenset({"name"})


class Profile(Answer):
    """One of the people who share an account."""

    profile_id: ProfileId
    name: str
    maturity: int | None
    created_at: AwareDatetime


class Profiles(Answer):
    """`GET /v1/profiles`, the oldest first."""

    profiles: tuple[Profile, ...]


class NewApiKey(Request):
    """`POST /v1/api-keys`: of the caller's own role, or one below."""

    name: Label
    role: Role
    expires_at: AwareDatetime | None = None


class ApiKey(Answer):
    """A key for automation, without its secret."""

    key_id: ApiKeyId
    name: str
    role: Role
    created_at: AwareDatetime
    expires_at: AwareDatetime | None


class MadeApiKey(ApiKey):
    """A new key: its `secret`, for `Authorization: Bearer`, is told this once."""

    secret: str


class ApiKeys(Answer):
    """`GET /v1/api-keys`, the newest first."""

    keys: tuple[ApiKey, ...]


class Rotation(Request):
    """`POST /v1/access-keys`: another key signs access tokens. With `forget` all earlier ones are
    void at once: for when one may be known to others."""

    forget: bool = False


class AuditEntry(Answer):
    """What somebody did, or tried: `what` is the route, `subject` what it was done to."""

    entry_id: AuditId
    at: AwareDatetime
    who: str
    role: str
    address: str
    what: str
    subject: str
    outcome: str  # "ok", or the code of the refusal
    request_id: str


class AuditPage(Answer):
    """`GET /v1/audit`, the newest first; `next_cursor` None at the end."""

    entries: tuple[AuditEntry, ...]
    next_cursor: str | None
