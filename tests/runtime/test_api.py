"""The route table: validation, authorization, errors and the OpenAPI document from one place."""

import asyncio
from collections.abc import AsyncIterator

import jsonschema
import pytest
from aiohttp import web
from openapi_spec_validator import validate
from pydantic import BaseModel, Field
from pytest_aiohttp.plugin import AiohttpClient

import runtime.api
from media.ids import TitleId
from media.objects import StoreUnavailable
from runtime.api import Call, Caller, Route, make_app
from runtime.errors import Problem, ProblemDetails
from runtime.openapi import openapi


class Toast(BaseModel):
    slices: int = Field(ge=1, le=4)


class Done(BaseModel):
    said: str


class Search(BaseModel):
    q: str = Field("", max_length=5)


async def toast(call: Call) -> Done:
    return Done(said=f"{call.body(Toast).slices} for {call.who.name}, {call.query(Search).q}")


async def bake(call: Call) -> Done:
    return Done(said=call.raw.hex())


async def fail(call: Call) -> None:
    match call.path["how"]:
        case "problem":
            raise Problem("overloaded", retry_after_s=3)
        case "store":
            raise StoreUnavailable("no route")
        case "bug":
            raise KeyError("secret")


ROUTES = [
    Route(
        "POST", "/v1/toast", toast, "Toasts", answer=Done, body=Toast, query=Search,
        roles=frozenset({"cook"}), status=201, errors=("overloaded",), max_body_bytes=100,
    ),
    Route(
        "PUT", "/v1/bread", bake, "Bakes", answer=Done, takes="application/octet-stream",
        roles=frozenset({"cook"}), max_body_bytes=5,
    ),
    Route("GET", "/v1/fail/{how}", fail, "Fails"),
    Route("GET", "/v1/titles/{title_id}", fail, "A title", params={"title_id": TitleId}),
]  # fmt: skip


async def authenticate(request: web.Request) -> Caller | None:
    role = request.headers.get("X-Role")
    if role == "liar":
        raise Problem("token_invalid")
    return Caller("Ada", role) if role else None


async def test_validation_and_authorization(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(make_app(ROUTES, authenticate))
    cook, good = {"X-Role": "cook"}, b'{"slices": 2}'
    for headers, body, status, code in [
        ({}, good, 401, "not_signed_in"),
        ({"X-Role": "guest"}, good, 403, "not_allowed"),
        ({"X-Role": "liar"}, good, 403, "token_invalid"),
        (cook, b'{"slices": 9}', 422, "invalid_field"),
        (cook, b'{"slices"', 400, "bad_request"),
        (cook, b"", 400, "bad_request"),
        (cook, b"[" * 90, 400, "bad_request"),
        (cook, b" " * 101, 413, "body_too_large"),
    ]:
        answer = await client.post("/v1/toast", data=body, headers=headers)
        details = ProblemDetails.model_validate_json(await answer.read())
        assert (answer.status, details.code) == (status, code), body
        assert answer.content_type == "application/problem+json"
        assert details.request_id == answer.headers["X-Request-Id"]
    answer = await client.post(
        "/v1/toast?q=jam", data=good, headers=cook | {"X-Request-Id": "abc-1"}
    )
    assert (answer.status, await answer.json()) == (201, {"said": "2 for Ada, jam"})
    assert answer.headers["X-Request-Id"] == "abc-1"
    answer = await client.post("/v1/toast?q=marmalade", data=good, headers=cook)
    assert answer.status == 422
    answer = await client.post("/v1/toast", data=good, headers=cook | {"X-Request-Id": "a b"})
    assert answer.headers["X-Request-Id"] != "a b"


async def test_a_body_of_no_announced_length_is_bounded(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(make_app(ROUTES, authenticate))
    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * 2**20:
            sent += 2**16
            yield b" " * 2**16

    answer = await client.post("/v1/toast", data=pieces(), headers={"X-Role": "cook"})
    assert (answer.status, (await answer.json())["code"]) == (413, "body_too_large")
    assert sent < 32 * 2**20


async def test_a_route_may_take_bytes(aiohttp_client: AiohttpClient) -> None:
    """Of whatever kind the client says that they are, and no more than it takes."""
    client = await aiohttp_client(make_app(ROUTES, authenticate))
    cook = {"X-Role": "cook", "Content-Type": "text/html"}
    answer = await client.put("/v1/bread", data=b"\xff\0{", headers=cook)
    assert (answer.status, await answer.json()) == (200, {"said": "ff007b"})
    for headers, code in ((cook, "body_too_large"), ({}, "not_signed_in")):
        answer = await client.put("/v1/bread", data=b"123456", headers=headers)
        assert (await answer.json())["code"] == code


async def test_a_body_that_does_not_come_is_not_waited_for(
    aiohttp_client: AiohttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.api, "BODY_TIMEOUT_S", 0.05)
    client = await aiohttp_client(make_app(ROUTES, authenticate))

    async def endless() -> AsyncIterator[bytes]:
        yield b'{"slices":'
        await asyncio.Event().wait()

    answer = await client.post("/v1/toast", data=endless(), headers={"X-Role": "cook"})
    assert (answer.status, (await answer.json())["code"]) == (400, "bad_request")


async def test_errors_become_problems(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(make_app(ROUTES, authenticate))
    for path, status, code in [
        ("/v1/fail/problem", 503, "overloaded"),
        ("/v1/fail/store", 503, "store_unavailable"),
        ("/v1/fail/bug", 500, "internal"),
        ("/v1/nothing", 404, "not_found"),
        ("/v1/titles/x", 404, "not_found"),
    ]:
        answer = await client.get(path)
        details = await answer.json()
        assert (answer.status, details["code"]) == (status, code)
        assert "secret" not in str(details)
    assert (await client.get("/v1/fail/problem")).headers["Retry-After"] == "3"
    assert (await client.delete("/v1/toast")).status == 405


async def test_head_is_wherever_get_is(aiohttp_client: AiohttpClient) -> None:
    """RFC 9110 9.3.2: the same fields, and no body; but a stream of events has no length."""

    async def done(call: Call) -> Done:
        return Done(said="toasted")

    async def stream(call: Call) -> web.StreamResponse:
        return web.Response(content_type="text/event-stream")

    routes = [
        Route("GET", "/v1/done", done, "", answer=Done),
        Route("GET", "/v1/events", stream, "", media_type="text/event-stream"),
    ]
    client = await aiohttp_client(make_app([*ROUTES, *routes]))
    whole, head = await client.get("/v1/done"), await client.head("/v1/done")
    assert (head.status, await head.read()) == (200, b"")
    for field in ("Content-Type", "Content-Length", "Cache-Control"):
        assert head.headers[field] == whole.headers[field]
    refused = await client.head("/v1/titles/x")
    assert (refused.status, await refused.read()) == (404, b"")
    assert (await client.head("/v1/events")).status == 405
    assert (await client.head("/v1/toast")).status == 405
    assert set(openapi(routes, "Toaster", "1")["paths"]["/v1/done"]) == {"get"}


def test_the_document_is_valid_and_says_what_is_checked() -> None:
    document = openapi(ROUTES, "Toaster", "1")
    validate(document)
    toast_operation = document["paths"]["/v1/toast"]["post"]
    assert set(toast_operation["responses"]) == {
        "201", "400", "401", "403", "413", "422", "500", "503",
    }  # fmt: skip
    schema = document["components"]["schemas"]["Toast"]
    jsonschema.validate({"slices": 2}, schema)
    assert toast_operation["security"] == [{"bearer": []}]
    bread = document["paths"]["/v1/bread"]["put"]
    assert set(bread["requestBody"]["content"]) == {"application/octet-stream"}
    assert set(bread["responses"]) == {"200", "400", "401", "403", "413", "500"}
