"""Every route against every kind of caller: the table says who may, and nobody else gets in."""

from pathlib import Path

import pytest

from control_plane.roles import ADMINS, ENCODERS, OPERATORS, STEERING, VIEWERS
from media.ids import new_id
from tests.control_plane.house import House, code_of, open_house

CALLERS = ("anonymous", "viewer", "operator", "admin", "encoder", "steering", "oslo-1")
ROLE_OF = {"oslo-1": "appliance"}
ANYONE = frozenset[str]()

# Written down a second time, on purpose: a slip in the route table has to be made here too.
WHO = {
    "POST /v1/auth/login": ANYONE,
    "POST /v1/auth/refresh": ANYONE,
    "POST /v1/auth/logout": VIEWERS,
    "POST /v1/access-keys": ADMINS,
    "GET /v1/me": VIEWERS,
    "PUT /v1/me/password": VIEWERS,
    "GET /v1/devices": VIEWERS,
    "DELETE /v1/devices/{device_id}": VIEWERS,
    "GET /v1/profiles": VIEWERS,
    "POST /v1/profiles": VIEWERS,
    "PATCH /v1/profiles/{profile_id}": VIEWERS,
    "DELETE /v1/profiles/{profile_id}": VIEWERS,
    "GET /v1/api-keys": VIEWERS,
    "POST /v1/api-keys": VIEWERS,
    "DELETE /v1/api-keys/{key_id}": VIEWERS,
    "GET /v1/plans": OPERATORS,
    "PUT /v1/plans/{plan}": ADMINS,
    "DELETE /v1/plans/{plan}": ADMINS,
    "GET /v1/users": ADMINS,
    "POST /v1/users": ADMINS,
    "GET /v1/users/{user_id}": ADMINS,
    "PATCH /v1/users/{user_id}": ADMINS,
    "DELETE /v1/users/{user_id}": ADMINS,
    "GET /v1/audit": ADMINS,
    "POST /v1/titles": OPERATORS,
    "GET /v1/titles": VIEWERS,
    "GET /v1/home": VIEWERS,
    "GET /v1/titles/{title_id}": VIEWERS,
    "PATCH /v1/titles/{title_id}": OPERATORS,
    "DELETE /v1/titles/{title_id}": OPERATORS,
    "POST /v1/titles/{title_id}/publish": OPERATORS,
    "POST /v1/titles/{title_id}/unpublish": OPERATORS,
    "GET /v1/titles/{title_id}/steer": OPERATORS,
    "GET /v1/titles/{title_id}/artwork": VIEWERS,
    "PUT /v1/titles/{title_id}/artwork": OPERATORS,
    "DELETE /v1/titles/{title_id}/artwork": OPERATORS,
    "GET /v1/titles/{title_id}/artwork/{sha256}/{key}": ANYONE,
    "POST /v1/titles/{title_id}/uploads": OPERATORS,
    "PUT /v1/uploads/{upload_id}/parts/{number}": OPERATORS,
    "PUT /v1/uploads/{upload_id}/subtitles/{language}": OPERATORS,
    "POST /v1/uploads/{upload_id}/complete": OPERATORS,
    "DELETE /v1/uploads/{upload_id}": OPERATORS,
    "POST /v1/jobs/lease": ENCODERS,
    "POST /v1/jobs/{job_id}/heartbeat": ENCODERS,
    "POST /v1/jobs/{job_id}/complete": ENCODERS,
    "POST /v1/jobs/{job_id}/fail": ENCODERS,
    "POST /v1/jobs/{job_id}/hand-back": ENCODERS,
    "GET /v1/jobs": OPERATORS,
    "GET /v1/jobs/{job_id}": OPERATORS,
    "GET /v1/jobs/{job_id}/events": OPERATORS,
    "POST /v1/jobs/{job_id}/cancel": OPERATORS,
    "POST /v1/jobs/{job_id}/retry": OPERATORS,
    "POST /v1/sessions": VIEWERS,
    "GET /v1/sessions/{session_id}": VIEWERS,
    "POST /v1/sessions/{session_id}/heartbeat": VIEWERS,
    "GET /v1/history": VIEWERS,
    "DELETE /v1/history/{title_id}": VIEWERS,
    "DELETE /v1/sessions/{session_id}": VIEWERS,
    "POST /v1/sessions/{session_id}/{key}/license": ANYONE,
    "OPTIONS /v1/sessions/{session_id}/{key}/license": ANYONE,
    "GET /v1/sessions/{session_id}/{key}/master.m3u8": ANYONE,
    "GET /v1/sessions/{session_id}/{key}/manifest.mpd": ANYONE,
    "OPTIONS /v1/sessions/{session_id}/{key}/master.m3u8": ANYONE,
    "OPTIONS /v1/sessions/{session_id}/{key}/manifest.mpd": ANYONE,
    "GET /v1/packages": STEERING,
    "GET /v1/fleet": OPERATORS,
    "PUT /v1/fleet/{appliance}/drain": OPERATORS,
    "DELETE /v1/fleet/{appliance}": OPERATORS,
    "POST /v1/invitations": OPERATORS,
    "GET /v1/invitations": OPERATORS,
    "DELETE /v1/invitations/{appliance}": OPERATORS,
    "POST /v1/enrolments": ANYONE,
    "GET /v1/machines": STEERING,
    "GET /v1/fleet/{appliance}/plan": OPERATORS,
    "GET /v1/fills": OPERATORS,
    "POST /v1/fills/{package_id}": OPERATORS,
    "DELETE /v1/fills/{package_id}": OPERATORS,
    "POST /v1/purges": OPERATORS,
    "GET /v1/purges": OPERATORS,
    "GET /v1/purges/{job_id}": OPERATORS,
    "POST /v1/purges/{job_id}/cancel": OPERATORS,
    "GET /v1/regions": VIEWERS,
    "GET /healthz": ANYONE,
    "GET /readyz": ANYONE,
    "GET /metrics": ANYONE,
    "GET /openapi.json": ANYONE,
}
SOME = {
    "number": "1",
    "language": "en",
    "key": "0" * 32,
    "sha256": "0" * 64,
    "appliance": "oslo-1",
    "plan": "basic",
} | {
    f"{kind}_id": new_id(prefix)
    for kind, prefix in {
        "title": "ttl",
        "upload": "upl",
        "job": "job",
        "package": "pkg",
        "session": "ses",
        "user": "usr",
        "device": "dev",
        "profile": "prf",
        "key": "key",
    }.items()
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("house")


def test_the_table_is_whole(house: House):
    listed = {f"{route.method} {route.path}": route.roles for route in house.control.routes}
    assert listed == WHO


async def test_each_caller_gets_what_is_theirs_and_no_more(folder: Path):
    async with open_house(folder, "oslo-1") as house:
        for caller in CALLERS:
            api = await client(house, caller)
            role = ROLE_OF.get(caller, caller)
            # Who has signed out gets nothing more: that comes last.
            for address, roles in sorted(WHO.items(), key=lambda item: "logout" in item[0]):
                method, path = address.split()
                code = await code_of(api.call_raw(method, path.format(**SOME)))
                if not roles or role in roles:
                    assert code not in ("not_signed_in", "not_allowed"), (caller, address)
                else:
                    wanted = "not_signed_in" if role == "anonymous" else "not_allowed"
                    assert code == wanted, (caller, address)


async def client(house: House, caller: str):
    if caller == "anonymous":
        return house.anonymous()
    if caller in house.identities:
        return house.machine(caller)
    return await house.account(caller)
