"""The typed client: it is made of the route table, and does what the table says."""

import json
from dataclasses import replace

import pytest
from pydantic import BaseModel

from control_plane.client_maker import COMMAND, MODULE, has_method, module_of, routes
from control_plane.routes import NAMES
from media.accounts import NewUser
from media.api import Heartbeat, NewSession, NewTitle, TitleChange
from media.fleet import DrainRequest
from runtime.control_api import ControlApi
from runtime.openapi import operation_of
from tests.control_plane.house import House, code_of
from tests.control_plane.stills import still


def test_the_module_is_what_the_routes_make():
    made = module_of(routes())
    assert made == MODULE.read_text(), f"Routes have changed: run `{COMMAND}`."


def test_every_operation_has_a_name_of_its_own():
    named = {f"{route.method} {route.path}": operation_of(route) for route in routes()}
    assert len(set(named.values())) == len(named)
    assert set(NAMES) <= set(named)


def test_what_has_no_method_is_streams_and_what_browsers_ask():
    without = {operation_of(route) for route in routes() if not has_method(route)}
    assert {name for name in without if not name.startswith("options_")} == {
        "job_events",
        "put_part",
        "put_subtitles",
    }


def test_names_that_are_taken_and_queries_that_no_address_can_carry_are_refused():
    class Nested(BaseModel):
        inner: NewTitle

    known = next(route for route in routes() if operation_of(route) == "titles")
    with pytest.raises(ValueError, match="called titles"):
        module_of([known, replace(known, path="/v1/others", operation="titles")])
    with pytest.raises(TypeError):
        module_of([replace(known, query=Nested)])


async def test_bodies_queries_and_bytes_go_where_the_routes_want_them(house: House):
    api = ControlApi(await house.account("operator"))
    made = [await api.create_title(NewTitle(name=name)) for name in ("First", "Second")]
    page = await api.titles(limit=1)
    assert [title.name for title in page.titles] == ["Second"]
    page = await api.titles(cursor=page.next_cursor, limit=1)
    assert [title.name for title in page.titles] == ["First"]
    assert [title.name for title in (await api.titles(q="seco")).titles] == ["Second"]
    changed = await api.change_title(made[0].title_id, TitleChange(year=1950))
    assert changed.about.year == 1950 and await api.title(made[0].title_id) == changed
    assert (await api.put_title_artwork(made[0].title_id, still("png"))).artwork_url is not None
    assert await api.title_artwork(made[0].title_id) == still("png")
    await api.drain_appliance("north-1", DrainRequest(draining=True))
    assert house.steering.drains == {"north-1": True}
    await api.delete_title(made[0].title_id)
    assert await code_of(api.title(made[0].title_id)) == "unknown_title"


async def test_a_session_from_its_start_to_its_end(house: House):
    title = await house.published()
    api = ControlApi(await house.account("viewer"))
    session = await api.start_session(NewSession(title_id=title.title_id, region="north"))
    await api.keep_session(session.session_id, Heartbeat(position_s=1.0))
    key = session.hls_url.split("/")[-2]
    assert (await api.hls_playlist(session.session_id, key, pathways=1)).startswith(b"#EXTM3U")
    await api.end_session(session.session_id, position_s=1.5)
    assert await code_of(api.session(session.session_id)) == "unknown_session"


async def test_what_is_given_as_an_id_stays_one_segment(house: House):
    admin = ControlApi(await house.account("admin"))
    user = await admin.create_user(NewUser(name="anna", password="a long password"))
    for elsewhere in (f"x/../{user.user_id}", f"{user.user_id}?", f"{user.user_id}#", "", ".."):
        assert await code_of(admin.delete_user(elsewhere)) == "not_found"
    assert await admin.user(user.user_id) == user


async def test_the_document_calls_operations_as_the_client_does(house: House):
    document = json.loads(await ControlApi(house.anonymous()).openapi())
    named = {on["operationId"] for path in document["paths"].values() for on in path.values()}
    assert {operation_of(route) for route in routes()} == named | {"openapi"}
