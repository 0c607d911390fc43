"""The audit log: what operators change, and what they tried; nothing secret in it."""

import json

from tests.control_plane.house import BOTH, PASSWORD, House, code_of, send

pytestmark = BOTH


async def entries(house: House, **query: str) -> list[dict[str, str]]:
    admin = await house.account("admin")
    raw = await admin.call_raw("GET", "/v1/audit", query=query)
    return list(json.loads(raw)["entries"])


async def test_deeds_are_kept_with_who_did_what_to_what(house: House):
    operator = await house.account("operator")
    title = (await send(operator, "POST", "/v1/titles", name="Film"))["title_id"]
    assert await code_of(send(operator, "POST", f"/v1/titles/{title}/publish")) == "title_not_ready"
    await send(operator, "GET", "/v1/titles")
    mine = [entry for entry in await entries(house) if entry["who"] == "operator"]
    assert [(e["what"], e["subject"], e["outcome"]) for e in mine] == [
        ("POST /v1/titles/{title_id}/publish", title, "title_not_ready"),
        ("POST /v1/titles", title, "ok"),
    ]
    assert all(e["address"] == "127.0.0.1" and e["request_id"] for e in mine)


async def test_what_viewers_do_is_their_own(house: House):
    viewer = await house.account("viewer")
    before = len(await entries(house))
    await send(viewer, "POST", "/v1/profiles", name="Anna")
    assert await code_of(send(viewer, "POST", "/v1/titles", name="Film")) == "not_allowed"
    assert len(await entries(house)) == before


async def test_no_secret_gets_into_it(house: House):
    await house.account("viewer")
    await house.account("operator")
    assert PASSWORD not in json.dumps(await entries(house))


async def test_pages_and_an_end(house: House):
    admin = await house.account("admin")
    for number in range(5):
        await send(admin, "POST", "/v1/titles", name=f"Film {number}")
    raw = await admin.call_raw("GET", "/v1/audit", query={"limit": "3"})
    first = json.loads(raw)
    rest = await entries(house, limit="3", cursor=first["next_cursor"])
    assert len(first["entries"]) == 3
    assert first["entries"][-1]["entry_id"] > rest[0]["entry_id"]
    house.clock.advance(401 * 86_400)
    await house.control.accounts.audit.drop_old()
    house.clock.advance(-401 * 86_400)
    assert await entries(house) == []
