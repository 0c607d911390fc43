"""Titles: made, found, hidden, shown, removed."""

import asyncio
from datetime import timedelta

import aiohttp

from control_plane.clock import utc_now
from control_plane.packages import read_inventory, renditions_of
from media.api import Job, Title, TitlePage
from media.fills import FillPlan, FillStatus
from media.fleet import PackageList
from media.ids import new_id
from media.inventory import sha256_of
from tests.control_plane.house import MASTER, House, code_of, send


async def titles(house: House, role: str = "operator", **query: str) -> TitlePage:
    return await (await house.account(role)).call("GET", "/v1/titles", TitlePage, query=query)


async def names(house: House, role: str = "operator", **query: str) -> list[str]:
    return [title.name for title in (await titles(house, role, **query)).titles]


async def make(house: House, *made: str) -> None:
    operator = await house.account("operator")
    for name in made:
        await send(operator, "POST", "/v1/titles", name=name)
        await asyncio.sleep(0.002)  # ids sort by the millisecond


async def test_titles_come_newest_first_in_pages(house: House):
    await make(house, *(f"film {number}" for number in range(5)))
    first = await titles(house, limit="2")
    assert [title.name for title in first.titles] == ["film 4", "film 3"]
    second = await titles(house, limit="2", cursor=str(first.next_cursor))
    assert [title.name for title in second.titles] == ["film 2", "film 1"]
    last = await titles(house, limit="2", cursor=str(second.next_cursor))
    assert [title.name for title in last.titles] == ["film 0"]
    assert last.next_cursor is None


async def test_search_is_for_the_beginnings_of_words(house: House):
    await make(house, "Big Buck BUNNY", "Großer Ärger", "100% true", "snake_case", "…", "東京物語")
    wanted = {
        "bunny": ["Big Buck BUNNY"],
        "bun BIG": ["Big Buck BUNNY"],
        "bun bad": [],
        "unny": [],
        "ÄRGER": ["Großer Ärger"],
        "arg": ["Großer Ärger"],
        "grosser": ["Großer Ärger"],
        "100%": ["100% true"],
        "case": ["snake_case"],
        "東京": ["東京物語"],
        "…": ["…"],  # no word at all: it is the whole name
        "%": [],
        "_": [],
        "\\": [],
        "' OR 1=1 --": [],
        "big NOT buck": [],
        '"': [],
        "b*": ["Big Buck BUNNY"],
        "words:big": [],
        "&|!:*('": [],
        "x" * 200: [],
    }
    assert {q: await names(house, q=q) for q in wanted} == wanted


async def test_search_knows_people_genres_and_synopsis(house: House):
    title = await house.published("Shadows")
    await house.describe(
        title,
        synopsis="A clerk\nfinds a ledger.",
        genres=["Film noir"],
        people=[{"name": "Ida Lupino", "role": "director"}],
        year=1950,
    )
    for q in ("ledger", "noir", "lupi ida", "shadow", "shad led"):
        assert await names(house, "viewer", q=q) == ["Shadows"], q
    await house.describe(title, name="Lights", synopsis="")
    assert await names(house, "viewer", q="shadows") == []
    assert await names(house, "viewer", q="ledger") == []
    assert await names(house, "viewer", q="lights noir") == ["Lights"]
    viewer = await house.account("viewer")
    shown = await send(viewer, "GET", f"/v1/titles/{title.title_id}")
    assert (shown["about"]["year"], shown["about"]["people"][0]["role"]) == (1950, "director")
    listed = await titles(house, "viewer")
    assert (listed.titles[0].about.people, listed.titles[0].about.year) == ((), 1950)


async def test_viewers_see_what_is_published(house: House):
    await make(house, "draft")
    title = await house.published("shown")
    assert await names(house, "viewer") == ["shown"]
    assert await names(house) == ["shown", "draft"]
    operator, viewer = await house.account("operator"), await house.account("viewer")
    path = f"/v1/titles/{title.title_id}"
    await send(operator, "POST", f"{path}/unpublish")
    assert await names(house, "viewer") == []
    assert await code_of(viewer.call("GET", path, Title)) == "unknown_title"
    start = send(viewer, "POST", "/v1/sessions", title_id=title.title_id)
    assert await code_of(start) == "unknown_title"
    start = send(operator, "POST", "/v1/sessions", title_id=title.title_id)
    assert await code_of(start) == "title_not_ready"
    await send(operator, "POST", f"{path}/publish")
    assert await names(house, "viewer") == ["shown"]


async def test_a_title_without_a_package_cannot_be_published(house: House):
    operator = await house.account("operator")
    title = await send(operator, "POST", "/v1/titles", name="empty")
    publish = send(operator, "POST", f"/v1/titles/{title['title_id']}/publish")
    assert await code_of(publish) == "title_not_ready"


async def test_titles_that_are_not_there(house: House):
    operator = await house.account("operator")
    unknown = new_id("ttl")
    for method, action in (("GET", ""), ("DELETE", ""), ("POST", "/publish"), ("GET", "/steer")):
        path = f"/v1/titles/{unknown}{action}"
        assert await code_of(send(operator, method, path)) == "unknown_title"
    assert await code_of(send(operator, "GET", "/v1/titles/nonsense")) == "not_found"


async def test_names_are_checked(house: House):
    operator = await house.account("operator")
    for name in ("", "   ", "x" * 201, "a\0b", "\x1b[31mred", "two\nlines"):
        assert await code_of(send(operator, "POST", "/v1/titles", name=name)) == "invalid_field"
    assert await code_of(titles(house, limit="1000")) == "invalid_field"
    assert await code_of(titles(house, pages="1")) == "invalid_field"


async def test_steering_gets_published_packages_when_they_have_changed(house: House):
    title = await house.published()
    await house.upload("draft", publish=False)
    await house.complete(await house.lease())
    steering = house.machine("steering")
    listed = await steering.call("GET", "/v1/packages", PackageList)
    assert [package.package_id for package in listed.packages] == [title.package_id]
    (package,) = listed.packages
    inventory = await read_inventory(
        house.store, title.title_id, package.package_id, package.inventory_sha256
    )
    shared = sum(entry.bytes for entry in inventory.files)
    assert {one.rendition_id for one in package.renditions} == {
        one.rendition_id for one in inventory.renditions
    }
    assert package.total_bytes == sum(one.bytes for one in package.renditions) + shared

    tag = sha256_of(await steering.call_raw("GET", "/v1/packages"))
    assert await steering.call_raw("GET", "/v1/packages", known=tag) == b""
    await send(await house.account("operator"), "DELETE", f"/v1/titles/{title.title_id}")
    assert await steering.call_raw("GET", "/v1/packages", known=tag) == b'{"packages":[]}'


def test_packages_of_before_have_no_renditions():
    assert renditions_of("") == ()


async def test_pins_and_plans_pass_through(house: House):
    operator = await house.account("operator")
    package_id, appliance = new_id("pkg"), house.steering.pathways[0].appliance_id
    pinned = await send(operator, "POST", f"/v1/fills/{package_id}", sites=["north-1"], boost=2)
    assert (pinned["package_id"], pinned["boost"]) == (package_id, 2)
    fills = await operator.call("GET", "/v1/fills", FillStatus)
    assert [pin.package_id for pin in fills.pins] == [package_id]
    wrong = send(operator, "POST", f"/v1/fills/{package_id}", sites=["moon"])
    assert await code_of(wrong) == "unknown_site"
    await operator.call_raw("DELETE", f"/v1/fills/{package_id}")
    assert (await operator.call("GET", "/v1/fills", FillStatus)).pins == ()
    plan = await operator.call("GET", f"/v1/fleet/{appliance}/plan", FillPlan)
    assert plan.appliance_id == appliance
    unknown = operator.call_raw("GET", "/v1/fleet/nobody/plan")
    assert await code_of(unknown) == "unknown_appliance"


async def test_a_deleted_title_is_gone_then_purged_then_cleared_away(house: House):
    title = await house.published()
    session = await house.play(title)
    kept = await house.published("kept")
    operator = await house.account("operator")
    housekeeping = asyncio.create_task(house.control.keep_house(), name="housekeeping")

    await send(operator, "DELETE", f"/v1/titles/{title.title_id}")
    assert await names(house) == ["kept"]
    async with aiohttp.ClientSession() as browser, browser.get(session.hls_url) as answer:
        assert answer.status == 404
    async with asyncio.timeout(5):
        await house.steering.purged.wait()
        while await keys(house, title.title_id):  # noqa: ASYNC110 (nothing tells us)
            await asyncio.sleep(0.01)
    housekeeping.cancel()

    (purged,) = house.steering.tombstones
    assert purged == title.package_id
    # A token could have been signed just before: 2 × 12 s + 4 h, and 60 s of leeway.
    until = house.steering.tombstones[purged].until
    assert abs(until - utc_now() - timedelta(seconds=4 * 3600 + 24 + 60)).seconds < 5
    assert await keys(house, kept.title_id)


async def test_a_deletion_waits_for_steering(house: House):
    title = await house.published()
    await house.stop_steering()
    await send(await house.account("operator"), "DELETE", f"/v1/titles/{title.title_id}")
    assert await code_of(house.control.removal.remove_titles()) == "steering_unavailable"
    assert await keys(house, title.title_id)  # nobody was told: an appliance may still fill
    await house.start_steering()
    await house.control.removal.remove_titles()
    assert not await keys(house, title.title_id)


async def test_a_deletion_ends_uploads_and_jobs_and_waits_for_the_encoder(house: House):
    operator = await house.account("operator")
    await house.upload()
    lease = await house.lease()
    path = f"/v1/titles/{lease.title_id}"
    upload = await send(operator, "POST", f"{path}/uploads", filename="b.mp4", bytes=len(MASTER))
    await operator.send("PUT", upload["parts"][0]["url"], MASTER, timeout_s=5)
    await house.store.put_bytes(f"work/{lease.package_id}/chunk", b"state")

    await send(operator, "DELETE", path)
    beat = {"attempt": 1, "progress": {}}
    encoder = house.machine("encoder")
    heartbeat = send(encoder, "POST", f"/v1/jobs/{lease.job_id}/heartbeat", **beat)
    assert await code_of(heartbeat) == "lease_lost"
    job = await operator.call("GET", f"/v1/jobs/{lease.job_id}", Job)
    assert job.state == "cancelled"
    await house.control.removal.remove_titles()
    assert await keys(house, lease.title_id)  # its encoder may not have noticed yet

    house.clock.advance(31)
    await house.control.removal.remove_titles()
    left = [path for path in (house.data / "store").rglob("*") if path.is_file()]
    assert left == []
    gone = operator.call("GET", f"/v1/jobs/{lease.job_id}", Job)
    assert await code_of(gone) == "unknown_job"


async def keys(house: House, title_id: str) -> list[str]:
    """What the store still has of a title."""
    folders = (f"masters/{title_id}/", f"titles/{title_id}/")
    return [o.key for folder in folders async for o in house.store.list_objects(folder)]
