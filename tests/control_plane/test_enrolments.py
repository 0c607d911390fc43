"""Machines join by invitation, once each, and leave for good."""

import asyncio
import time
from pathlib import Path
from typing import Any

from media.enrolment import Enrolled, MachineKeys
from media.inventory import sha256_of
from media.keys import Identity, Keyring, PublicIdentity
from media.token import sign_machine_token
from tests.control_plane.house import BOTH, House, code_of, open_house, send

SITE = "north-1"


async def invite(house: House, **more: Any) -> dict[str, Any]:
    operator = await house.account("operator")
    return await send(operator, "POST", "/v1/invitations", **{"site": SITE} | more)


def machine(house: House, name: str, key: str = "own") -> Identity:
    return Identity.open(name, "appliance", house.data / "elsewhere" / f"{name}-{key}.key")


async def enrol(
    house: House, token: str, own: Identity, signer: Identity | None = None
) -> Enrolled:
    proof = sign_machine_token(signer or own, "control", int(time.time()))
    answer = await send(
        house.anonymous(),
        "POST",
        "/v1/enrolments",
        token=token,
        ed25519=own.public.ed25519,
        proof=proof,
        public_url="http://192.0.2.7:8090",
    )
    return Enrolled.model_validate(answer)


async def keys(house: House) -> dict[str, str | None]:
    steering = house.machine("steering")
    return (await steering.call("GET", "/v1/machines", MachineKeys)).keys


@BOTH
async def test_a_machine_joins_and_is_told_what_it_needs(house: House) -> None:
    made = await invite(house)
    assert made["appliance_id"] == "north-1-1" and made["control_plane_url"] == house.url
    own = machine(house, made["appliance_id"])
    told = await enrol(house, made["token"], own)
    assert (told.appliance_id, told.site) == ("north-1-1", SITE)
    assert told.steering_url == house.steering.url and told.store == house.store.url
    assert told.store_credentials == {}
    names = {key.name: key.role for key in told.keys}
    assert names == {
        "control": "control",
        "steering": "steering",
        "oslo-1": "appliance",
        "north-1-1": "appliance",
    }
    ring = Keyring([PublicIdentity.of(k.name, k.role, k.ed25519) for k in told.keys])
    control = ring.get("control")
    assert control is not None
    assert control.ed25519 == house.identities["control"].public.ed25519
    assert (await keys(house))["north-1-1"] == own.public.ed25519
    # The next one of the site has the next number.
    assert (await invite(house))["appliance_id"] == "north-1-2"


@BOTH
async def test_a_token_is_good_for_one_key_which_may_show_it_again(house: House) -> None:
    made = await invite(house, appliance_id="west-3")
    own, other = machine(house, "west-3"), machine(house, "west-3", "other")
    first = await enrol(house, made["token"], own)
    assert await enrol(house, made["token"], own) == first
    assert await code_of(enrol(house, made["token"], other)) == "invitation_used"
    operator = await house.account("operator")
    (listed,) = (await send(operator, "GET", "/v1/invitations"))["invitations"]
    assert listed["used"] and listed["appliance_id"] == "west-3" and "token" not in listed


@BOTH
async def test_who_is_refused(house: House) -> None:
    made = await invite(house, appliance_id="west-3", ttl_s=60)
    own, other = machine(house, "west-3"), machine(house, "west-3", "other")
    forged = "west-3." + "A" * 43
    assert await code_of(enrol(house, forged, own)) == "invitation_invalid"
    stranger = "west-4." + made["token"].partition(".")[2]
    assert await code_of(enrol(house, stranger, own)) == "invitation_invalid"
    assert await code_of(enrol(house, "west-3", own)) == "invalid_field"
    # Somebody else's public key, without the private one.
    assert await code_of(enrol(house, made["token"], own, other)) == "token_invalid"
    house.clock.advance(61)
    assert await code_of(enrol(house, made["token"], own)) == "invitation_expired"
    house.clock.advance(-61)
    assert "west-3" not in await keys(house)
    again = await invite(house, appliance_id="west-3")
    assert await code_of(enrol(house, made["token"], own)) == "invitation_invalid"
    await send(await house.account("operator"), "DELETE", "/v1/invitations/west-3")
    assert await code_of(enrol(house, again["token"], own)) == "invitation_invalid"


@BOTH
async def test_an_id_that_is_taken_is_not_given_again(house: House) -> None:
    for name in ("oslo-1", "control", "encoder-2"):
        assert await code_of(invite(house, appliance_id=name)) == "name_taken"
    made = await invite(house, appliance_id="west-3")
    await enrol(house, made["token"], machine(house, "west-3"))
    assert await code_of(invite(house, appliance_id="west-3")) == "name_taken"
    assert await code_of(invite(house, site="atlantis")) == "invalid_field"


@BOTH
async def test_who_is_forgotten_does_not_come_back_by_the_same_token(house: House) -> None:
    operator = await house.account("operator")
    made = await invite(house, appliance_id="west-3")
    own, other = machine(house, "west-3"), machine(house, "west-3", "other")
    await enrol(house, made["token"], own)
    await send(operator, "DELETE", "/v1/fleet/west-3")
    assert (await keys(house))["west-3"] is None
    assert await code_of(enrol(house, made["token"], own)) == "invitation_invalid"
    for name in ("west-3", "encoder", "nobody"):
        assert await code_of(send(operator, "DELETE", f"/v1/fleet/{name}")) == "unknown_appliance"
    # One of the key ring on disk, too; and its name is free for another machine.
    await send(operator, "DELETE", "/v1/fleet/oslo-1")
    assert (await keys(house))["oslo-1"] is None
    told = await enrol(house, (await invite(house, appliance_id="west-3"))["token"], other)
    assert "oslo-1" not in {key.name for key in told.keys}
    assert (await keys(house))["west-3"] == other.public.ed25519


@BOTH
async def test_of_two_machines_with_one_token_one_joins(house: House) -> None:
    made = await invite(house, appliance_id="west-3")
    tries = [enrol(house, made["token"], machine(house, "west-3", str(n))) for n in range(5)]
    codes = await asyncio.gather(*(code_of(each) for each in tries))
    assert sorted(codes) == ["", *["invitation_used"] * 4]


@BOTH
async def test_whoever_asks_for_keys_waits_for_news(house: House) -> None:
    steering = house.machine("steering")
    raw = await steering.call_raw("GET", "/v1/machines")
    wait = {"query": {"wait": "0"}, "known": sha256_of(raw)}
    assert await steering.call_raw("GET", "/v1/machines", **wait) == b""
    wait["query"] = {"wait": "10"}
    asking = asyncio.create_task(steering.call_raw("GET", "/v1/machines", **wait), name="asks")
    made = await invite(house, appliance_id="west-3")
    own = machine(house, "west-3")
    await enrol(house, made["token"], own)
    async with asyncio.timeout(5):
        heard = MachineKeys.model_validate_json(await asking)
    assert heard.keys["west-3"] == own.public.ed25519


@BOTH
async def test_tries_are_counted_and_deeds_are_told(house: House) -> None:
    made = await invite(house, appliance_id="west-3")
    await enrol(house, made["token"], machine(house, "west-3"))
    forged = ["west-3." + "A" * 42 + letter for letter in "BC"]
    own = machine(house, "west-3", "other")
    codes = [await code_of(enrol(house, forged[0], own)) for _ in range(11)]
    assert codes == ["invitation_invalid"] * 10 + ["too_many_attempts"]
    # By token: nobody keeps a machine out by guesses.
    assert await code_of(enrol(house, forged[1], own)) == "invitation_invalid"
    entries = (await send(await house.account("admin"), "GET", "/v1/audit"))["entries"]
    told = {(e["what"], e["who"], e["subject"], e["outcome"]) for e in entries}
    assert ("POST /v1/invitations", "operator", "west-3", "ok") in told
    assert ("POST /v1/enrolments", "west-3", "west-3", "ok") in told


async def test_credentials_leave_only_when_the_settings_say_so(
    house: House, tmp_path: Path
) -> None:
    file = tmp_path / "fill.env"
    file.write_text("# read only\nAWS_ACCESS_KEY_ID=reader\nAWS_SECRET_ACCESS_KEY=s=1\n")
    async with open_house(tmp_path / "other", fill_credentials_file=str(file)) as other:
        token = (await invite(other))["token"]
        own = machine(other, "north-1-1")
        told = await enrol(other, token, own)
        assert told.store_credentials == {
            "AWS_ACCESS_KEY_ID": "reader",
            "AWS_SECRET_ACCESS_KEY": "s=1",
        }
        file.write_text("PATH=/evil\n")
        assert await code_of(enrol(other, token, own)) == "bad_settings"
