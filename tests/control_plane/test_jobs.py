"""Jobs: one encoder at a time is heard, and a silent one is replaced."""

import asyncio
import sqlite3
from contextlib import closing

import aiohttp
import pytest

from control_plane.jobs import NEVER_CAME_BACK, RETRY_AFTER_S
from media.api import Encode, Job, JobList, LeaseOffer, Title
from media.ids import new_id
from runtime.client import Client
from runtime.errors import Problem
from tests.control_plane.film import put_package
from tests.control_plane.house import MASTER, House, code_of, send


async def beat(
    house: House, job_id: str, attempt: int, encoder: str = "encoder", **progress: object
):
    path = f"/v1/jobs/{job_id}/heartbeat"
    word = {"attempt": attempt, "progress": progress}
    return await send(house.machine(encoder), "POST", path, **word)


async def fail(house: House, job_id: str, attempt: int, *, retry: bool):
    word = {"attempt": attempt, "code": "not_a_video", "message": "no video in it", "retry": retry}
    return await send(house.machine("encoder"), "POST", f"/v1/jobs/{job_id}/fail", **word)


async def no_work(house: House) -> bool:
    offer = await house.machine("encoder").call("POST", "/v1/jobs/lease", LeaseOffer)
    return offer.lease is None


async def test_jobs_are_leased_once_the_oldest_first(house: House):
    first = await house.upload("one")
    await asyncio.sleep(0.002)
    second = await house.upload("two")
    leases = await asyncio.gather(house.lease(), house.lease("encoder-2"))
    assert {lease.job_id for lease in leases} == {first["job_id"], second["job_id"]}
    assert await no_work(house)


async def test_what_matters_more_is_encoded_first(house: House):
    names = {"last": -5, "usual": 0, "first": 7}
    made = {}
    for name, priority in names.items():
        made[name] = (await house.upload(name, priority=priority))["job_id"]
    api = await house.account("operator")
    waiting = await api.call("GET", "/v1/jobs", JobList)
    assert [(job.job_id, job.priority) for job in waiting.jobs] == [
        (made["first"], 7), (made["usual"], 0), (made["last"], -5)
    ]  # fmt: skip
    assert [(await house.lease()).job_id for _ in names] == [job.job_id for job in waiting.jobs]


async def test_a_job_that_failed_is_tried_again_with_what_it_has(house: House):
    job = await house.upload()
    api = await house.account("operator")
    path = f"/v1/jobs/{job['job_id']}"
    lease = await house.lease()
    progress = {"stage": "encode", "fraction": 0.5, "chunks": 8, "chunks_done": 3}
    told = await beat(house, lease.job_id, 1, **progress)
    assert (told["progress"]["chunks"], told["progress"]["chunks_done"]) == (8, 3)
    assert (await send(api, "POST", f"{path}/retry"))["state"] == "running"  # as it was
    piece = f"work/{lease.package_id}/a/done.json"
    await house.store.put_bytes(piece, b"{}")
    word = {"attempt": 1, "code": "disk_full", "message": "full", "retry": False}
    await send(house.machine("encoder"), "POST", f"{path}/fail", **word)
    await house.control.removal.clear_jobs()
    assert (await house.store.stat(piece)).bytes == 2
    again = await send(api, "POST", f"{path}/retry")
    assert (again["state"], again["error"], again["progress"]["chunks"]) == ("queued", None, None)
    lease = await house.lease()
    assert lease.attempt == 2
    await send(house.machine("encoder"), "POST", f"{path}/fail", **(word | {"attempt": 2}))
    house.clock.advance(24 * 3600 + 1)
    await house.control.removal.clear_jobs()
    with pytest.raises(FileNotFoundError):
        await house.store.stat(piece)
    await house.store.delete(lease.master_key)
    house.expired()
    api = await house.account("operator")
    assert await code_of(send(api, "POST", f"{path}/retry")) == "not_found"
    ended = await api.call("GET", "/v1/jobs", JobList)
    assert [(job.job_id, job.state) for job in ended.jobs] == [(lease.job_id, "failed")]


async def test_an_encoder_that_falls_silent_is_replaced_and_not_heard_again(house: House):
    await house.upload()
    slow = await house.lease("encoder")
    house.clock.advance(29)
    assert await no_work(house)
    house.clock.advance(2)
    quick = await house.lease("encoder-2")
    assert (quick.job_id, quick.package_id) == (slow.job_id, slow.package_id)
    assert (slow.attempt, quick.attempt) == (1, 2)

    assert await code_of(beat(house, slow.job_id, slow.attempt)) == "lease_lost"
    assert await code_of(house.complete(slow, "encoder")) == "lease_lost"
    assert await code_of(fail(house, slow.job_id, slow.attempt, retry=False)) == "lease_lost"
    # Nor does it help to guess the other's attempt.
    assert await code_of(beat(house, slow.job_id, quick.attempt)) == "lease_lost"

    await beat(house, quick.job_id, quick.attempt, "encoder-2", stage="encode", fraction=0.1)
    assert (await house.complete(quick, "encoder-2"))["state"] == "done"


async def test_heartbeats_keep_a_job(house: House):
    await house.upload()
    lease = await house.lease()
    for _ in range(3):
        house.clock.advance(25)
        await beat(house, lease.job_id, lease.attempt)
    assert await no_work(house)


async def test_a_late_heartbeat_counts_while_nobody_else_has_the_job(house: House):
    await house.upload()
    lease = await house.lease()
    house.clock.advance(45)
    assert (await beat(house, lease.job_id, lease.attempt))["state"] == "running"
    assert await no_work(house)


async def test_a_job_that_nobody_finishes_fails(house: House):
    job = await house.upload()
    for attempt in (1, 2, 3):
        assert (await house.lease()).attempt == attempt
        await house.control.jobs.give_up()
        house.clock.advance(31)
    assert await no_work(house)
    await house.control.jobs.give_up()
    api = await house.account("operator")
    ended = await api.call("GET", f"/v1/jobs/{job['job_id']}", Job)
    assert (ended.state, ended.error_code, ended.error) == (
        "failed",
        "encode_failed",
        NEVER_CAME_BACK,
    )


async def test_a_failure_is_tried_again_so_many_times_and_not_at_once(house: House):
    """A store that is away for a minute must not cost the job."""
    await house.upload()
    states = []
    for attempt, rest_s in enumerate((0, *RETRY_AFTER_S), start=1):
        if rest_s:
            house.clock.advance(rest_s - 1)
            assert await no_work(house)
            house.clock.advance(2)
        lease = await house.lease()
        job = await fail(house, lease.job_id, attempt, retry=True)
        states.append((job["state"], job["error_code"]))
    assert states == [
        ("queued", "not_a_video"),
        ("queued", "not_a_video"),
        ("failed", "not_a_video"),
    ]


async def test_a_job_that_is_handed_back_has_not_failed(house: House):
    await house.upload()
    encoder, api = house.machine("encoder"), await house.account("operator")
    for attempt in range(1, 6):
        lease = await house.lease()
        path = f"/v1/jobs/{lease.job_id}/hand-back"
        assert (await send(encoder, "POST", path, attempt=attempt))["state"] == "queued"
        assert await code_of(send(encoder, "POST", path, attempt=attempt)) == "lease_lost"
    lease = await house.lease()
    await fail(house, lease.job_id, 6, retry=True)
    assert (await api.call("GET", f"/v1/jobs/{lease.job_id}", Job)).error_code == "not_a_video"
    house.clock.advance(RETRY_AFTER_S[0])
    done = await house.complete(await house.lease())
    assert (done["state"], done["error_code"], done["error"]) == ("done", None, None)


async def test_a_failure_that_is_final(house: House):
    await house.upload()
    lease = await house.lease()
    job = Job.model_validate(await fail(house, lease.job_id, 1, retry=False))
    assert (job.state, job.error_code, job.error) == ("failed", "not_a_video", "no video in it")
    assert job.finished_at is not None
    assert await no_work(house)


async def test_completing_twice_gives_one_answer(house: House):
    await house.upload()
    lease = await house.lease()
    first = await house.complete(lease)
    assert await house.complete(lease) == first
    assert await code_of(house.complete(lease, "encoder-2")) == "lease_lost"


async def test_a_package_must_stand_and_be_the_right_one(house: House):
    await house.upload()
    lease = await house.lease()
    encoder, path = house.machine("encoder"), f"/v1/jobs/{lease.job_id}/complete"

    def complete(sha256: str):
        return code_of(send(encoder, "POST", path, attempt=1, inventory_sha256=sha256))

    assert await complete("0" * 64) == "not_in_package"
    right = await put_package(house.store, lease.title_id, lease.package_id)
    assert await complete("0" * 64) == "invalid_field"
    key = f"titles/{lease.title_id}/{lease.package_id}/inventory.json"
    elsewhere = new_id("pkg")
    other = await put_package(house.store, lease.title_id, elsewhere)
    raw = await house.store.get_bytes(key.replace(lease.package_id, elsewhere), max_bytes=10**6)
    await house.store.put_bytes(key, raw)
    assert await complete(other) == "invalid_field"  # of another package
    await put_package(house.store, lease.title_id, lease.package_id)
    assert await complete(right) == ""


async def test_cancelling(house: House):
    job = await house.upload()
    api = await house.account("operator")
    lease = await house.lease()
    cancelled = await send(api, "POST", f"/v1/jobs/{job['job_id']}/cancel")
    assert cancelled["state"] == "cancelled"
    assert await code_of(beat(house, lease.job_id, lease.attempt)) == "lease_lost"
    assert await code_of(house.complete(lease)) == "lease_lost"
    house.clock.advance(60)
    assert await no_work(house)
    again = await send(api, "POST", f"/v1/jobs/{job['job_id']}/cancel")
    assert again == cancelled


async def test_nothing_is_left_of_a_job_that_made_no_package(house: House):
    """Its encoder had put the whole package when it heard that nobody wants it any more."""
    job = await house.upload()
    api = await house.account("operator")
    lease = await house.lease()
    await put_package(house.store, lease.title_id, lease.package_id)
    await send(api, "POST", f"/v1/jobs/{job['job_id']}/cancel")
    folder = f"titles/{lease.title_id}/"
    await house.control.removal.clear_jobs()
    assert [found async for found in house.store.list_objects(folder)]  # it may still write
    house.clock.advance(31)
    await house.control.removal.clear_jobs()
    assert not [found async for found in house.store.list_objects(folder)]
    assert (await house.store.stat(lease.master_key)).bytes  # the master is the title's
    await house.store.put_bytes(f"{folder}x", b"looked at once")
    await house.control.removal.clear_jobs()
    assert [found async for found in house.store.list_objects(folder)]


async def test_a_master_that_is_no_film_goes_and_the_catalog_says_why(house: House):
    await house.upload()
    api = await house.account("operator")
    lease = await house.lease()
    path = f"/v1/titles/{lease.title_id}"
    await fail(house, lease.job_id, 1, retry=True)
    title = await api.call("GET", path, Title)
    assert title.encode is not None and title.encode.state == "queued"
    await house.control.removal.clear_jobs()
    assert await masters(house, lease.title_id) == [lease.master_key]  # it may be tried again
    house.clock.advance(RETRY_AFTER_S[0])
    await house.lease()
    housekeeping = asyncio.create_task(house.control.keep_house(), name="housekeeping")
    await asyncio.sleep(0.1)  # its first round is over
    await fail(house, lease.job_id, 2, retry=False)
    async with asyncio.timeout(2):  # less than until the next round, were it not woken
        while await masters(house, lease.title_id):  # noqa: ASYNC110 (nothing tells us)
            await asyncio.sleep(0.01)
    housekeeping.cancel()
    title = await api.call("GET", path, Title)
    assert (title.state, title.job_id) == ("draft", lease.job_id)
    assert title.encode == Encode(state="refused", code="not_a_video", why="no video in it")


async def test_a_master_stays_when_it_is_not_at_fault(house: House):
    """And viewers are not told what went wrong with a title that plays."""
    title = await house.published()
    api, viewer = await house.account("operator"), await house.account("viewer")
    path = f"/v1/titles/{title.title_id}"
    upload = await send(api, "POST", f"{path}/uploads", filename="b.mp4", bytes=len(MASTER))
    headers = await api.send("PUT", upload["parts"][0]["url"], MASTER, timeout_s=5)
    done = {"parts": [{"number": 1, "etag": headers["ETag"]}]}
    await send(api, "POST", f"/v1/uploads/{upload['upload_id']}/complete", **done)
    lease = await house.lease()
    word = {"attempt": 1, "code": "encode_failed", "message": "killed", "retry": False}
    await send(house.machine("encoder"), "POST", f"/v1/jobs/{lease.job_id}/fail", **word)
    await house.control.removal.clear_jobs()
    assert lease.master_key in await masters(house, title.title_id)
    told, untold = [await who.call("GET", path, Title) for who in (api, viewer)]
    assert told.encode == Encode(state="failed", code="encode_failed", why="killed")
    assert untold.encode == Encode(state="failed")
    assert untold.package_id == title.package_id


async def masters(house: House, title_id: str) -> list[str]:
    """Keys of the title's masters."""
    return [found.key async for found in house.store.list_objects(f"masters/{title_id}/")]


async def test_a_job_that_is_done_stays_done(house: House):
    await house.upload()
    lease = await house.lease()
    done = await house.complete(lease)
    api = await house.account("operator")
    assert await send(api, "POST", f"/v1/jobs/{lease.job_id}/cancel") == done


async def test_who_waits_for_work_gets_it_at_once(house: House):
    await house.account("operator")
    encoder = house.machine("encoder")
    waiting = asyncio.create_task(
        encoder.call("POST", "/v1/jobs/lease", LeaseOffer, query={"wait": "10"}), name="waiting"
    )
    await asyncio.sleep(0.05)
    job = await house.upload()
    async with asyncio.timeout(1.5):  # less than it takes to look again without a bell
        offer = await waiting
    assert offer.lease is not None and offer.lease.job_id == job["job_id"]


async def test_an_encoder_that_stops_waiting_takes_no_job_with_it(house: House):
    await house.account("operator")
    impatient = Client(house.url, authorize=lambda: house.machine_token("encoder-2"))
    for _ in range(5):
        with pytest.raises(Problem):
            await impatient.call_raw("POST", "/v1/jobs/lease", query={"wait": "5"}, timeout_s=0.02)
    await impatient.close()
    await house.upload()
    assert (await house.lease()).attempt == 1


async def test_waiting_for_work_ends(house: House):
    offer = house.machine("encoder").call(
        "POST", "/v1/jobs/lease", LeaseOffer, query={"wait": "0.1"}
    )
    assert (await offer).lease is None
    too_long = house.machine("encoder").call(
        "POST", "/v1/jobs/lease", LeaseOffer, query={"wait": "11"}
    )
    assert await code_of(too_long) == "invalid_field"


async def test_events_tell_each_change_until_the_end(house: House):
    job = await house.upload()
    token = await house.access_token("operator")
    url = f"{house.url}/v1/jobs/{job['job_id']}/events"
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as browser,
        browser.get(url) as stream,
    ):
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert (await next_event(stream)).state == "queued"
        lease = await house.lease()
        assert (await next_event(stream)).state == "running"
        await beat(house, lease.job_id, 1, stage="encode", fraction=0.5)
        assert (await next_event(stream)).progress.fraction == 0.5
        await house.complete(lease)
        assert (await next_event(stream)).state == "done"
        assert await stream.content.read() == b""


async def test_events_of_a_job_that_has_ended_are_one(house: House):
    job = await house.upload()
    await house.complete(await house.lease())
    api = await house.account("operator")
    raw = await api.call_raw("GET", f"/v1/jobs/{job['job_id']}/events")
    assert raw.count(b"event: job") == 1
    assert await code_of(api.call_raw("GET", f"/v1/jobs/{new_id('job')}/events")) == "unknown_job"


async def test_events_end_with_the_job_that_is_gone(house: House):
    job = await house.upload()
    headers = {"Authorization": f"Bearer {await house.access_token('operator')}"}
    url = f"{house.url}/v1/jobs/{job['job_id']}/events"
    async with aiohttp.ClientSession(headers=headers) as browser, browser.get(url) as stream:
        await next_event(stream)
        with closing(sqlite3.connect(house.data / "control.db")) as database, database:
            database.execute("DELETE FROM jobs")
        house.control.bell.ring(job["job_id"])
        async with asyncio.timeout(1.5):
            assert await stream.content.read() == b""


async def next_event(stream: aiohttp.ClientResponse) -> Job:
    async with asyncio.timeout(1.5):
        event = await stream.content.readuntil(b"\n\n")
    name, data = event.decode().strip().split("\n")
    assert name == "event: job"
    return Job.model_validate_json(data.removeprefix("data: "))


async def test_jobs_that_are_not_there(house: House):
    words = {
        "heartbeat": {"attempt": 1, "progress": {}},
        "complete": {"attempt": 1, "inventory_sha256": "0" * 64},
        "fail": {"attempt": 1, "code": "x", "message": "x"},
        "hand-back": {"attempt": 1},
    }
    for word, body in words.items():
        path = f"/v1/jobs/{new_id('job')}/{word}"
        assert await code_of(send(house.machine("encoder"), "POST", path, **body)) == "unknown_job"
