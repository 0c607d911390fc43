"""Wire types of enrolment: how a machine that nobody knows becomes an appliance of a site.

An operator makes an *invitation* for one appliance id; its token is shown once. The machine shows
it with the public key that it made, and is told whom to trust and whom to ask. What others then
trust is a list of *machine keys*, which overrules the key rings on their disks.
"""

from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints

from media.accounts import Answer, Request
from media.fleet import MAX_MACHINES, PublicKey, Url, Wire
from media.ids import NAME, Name
from media.keys import MachineRole

LONGEST_S = 7 * 86_400
MAX_OPEN = 1000  # invitations; a fleet grows by fewer in a week

# The appliance's id, which is no secret, and 256 random bits.
EnrolmentToken = Annotated[
    str, StringConstraints(pattern=rf"^{NAME}\.[A-Za-z0-9_-]{{43}}$", max_length=80)
]


class NewInvitation(Request):
    """`POST /v1/invitations`. Without an id it is the site's next free number: `west-3`."""

    site: Name
    appliance_id: Name | None = None
    ttl_s: int = Field(3600, ge=60, le=LONGEST_S)


class Invitation(Answer):
    """One appliance may join, until then. `used`: it has."""

    appliance_id: Name
    site: Name
    created_at: AwareDatetime
    expires_at: AwareDatetime
    used: bool


class MadeInvitation(Invitation):
    """With the token, which is shown this once, and the address to show it at."""

    token: str
    control_plane_url: str


class Invitations(Answer):
    """`GET /v1/invitations`"""

    invitations: tuple[Invitation, ...]


class Enrolment(Request):
    """`POST /v1/enrolments`: a machine's public key. `proof` is a machine token (`media.token`) for
    the control plane that it signed with its private key, so nobody enrols another's."""

    token: EnrolmentToken
    ed25519: PublicKey
    proof: str = Field(min_length=1, max_length=1000)
    public_url: Url | None = None


class TrustedKey(Answer):
    """A machine of the key ring."""

    name: Name
    role: MachineRole
    ed25519: PublicKey


class Enrolled(Answer):
    """All that an appliance has to be told. `store_credentials` are there if the control plane's
    settings say that machines may have them."""

    appliance_id: Name
    site: Name
    steering_url: str
    store: str
    store_credentials: dict[str, str] = Field({}, repr=False)
    keys: tuple[TrustedKey, ...]


class MachineKeys(Wire):
    """`GET /v1/machines`: the keys of appliances; null for one that was forgotten. Who is not in it
    is as the reader's own key ring says."""

    keys: dict[Name, PublicKey | None] = Field(max_length=MAX_MACHINES)
