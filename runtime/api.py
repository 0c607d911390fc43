"""An HTTP API as one table of routes.

A `Route` names method, path, models, roles and error codes. From the table come the aiohttp
application (validation, authorization, errors, request ids) and, in `runtime.openapi`, the document
that describes it, so what is documented is what is checked. Handlers get a `Call` and return a
model, or a response of their own; they raise `Problem`.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar, cast

import structlog
from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from media.objects import StoreFull, StoreUnavailable
from runtime import tracing
from runtime.errors import Problem
from runtime.forwarded import Proxies
from runtime.log import logger

REQUEST_ID = "X-Request-Id"
_REQUEST_ID_KEY = web.RequestKey("request_id", str)
_TRACED = web.AppKey("traced", dict[tuple[str, str], tracing.Mode])
MAX_BODY_BYTES = 64 * 1024
BODY_TIMEOUT_S = 30.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Caller:
    """Who calls: an account or a machine, and the role that the route table knows. `device_id` is
    where an account is signed in; None for its API keys."""

    name: str
    role: str
    user_id: str | None = None
    device_id: str | None = None


@dataclass
class Call:
    """One request, validated: `path` holds the path parameters."""

    request: web.Request
    path: dict[str, str]
    raw_body: BaseModel | None
    raw_query: BaseModel | None
    caller: Caller | None
    request_id: str
    address: str  # the client's, behind proxies that are trusted
    raw: bytes = b""  # the body of a route that takes bytes

    def body(self, model: type[M]) -> M:
        """The body; `model` is the one the route names."""
        return cast(M, self.raw_body)

    def query(self, model: type[M]) -> M:
        """The query; `model` is the one the route names."""
        return cast(M, self.raw_query)

    @property
    def who(self) -> Caller:
        """The caller of a route that has roles."""
        if self.caller is None:
            raise Problem("not_signed_in")
        return self.caller


class Deed(NamedTuple):
    """A call of an audited route: `what` is the route, `subject` what it was done to, `outcome`
    "ok" or the code of the refusal."""

    what: str
    subject: str
    outcome: str


Handler = Callable[[Call], Awaitable[BaseModel | web.StreamResponse | None]]
Authenticate = Callable[[web.Request], Awaitable[Caller | None]]
Record = Callable[[Call, Deed], Awaitable[None]]
Place = Callable[[str], AbstractAsyncContextManager[None]]
Meter = Callable[[str], None]


@dataclass(frozen=True)
class Route:
    """One address of an API.

    `params` gives the type of each path parameter; one that does not fit is 404. `roles` empty
    means public. `body` is read only up to `max_body_bytes`, and so are the bytes of a route that
    `takes` a media type instead. `media_type` is for routes that answer something else than
    `application/json` and return their own response. Calls of a route that is `audited` are
    recorded, once the caller is known to have its role. `priority` is the service's own word for
    who goes first when there is too much to do; "" waits for nobody. `traced` says whether a call
    starts a trace, or continues its caller's (runtime.tracing). `operation` is the route's name
    where the rule's would read badly (runtime.openapi).
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answer: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    roles: frozenset[str] = frozenset()
    errors: tuple[str, ...] = ()
    status: int = 200
    media_type: str | None = None
    takes: str | None = None
    max_body_bytes: int = MAX_BODY_BYTES
    audited: bool = False
    priority: str = ""
    traced: tracing.Mode = ""
    operation: str = ""


async def nobody(request: web.Request) -> Caller | None:
    """Authenticates no one: for APIs whose routes are all public."""
    return None


async def forget(call: Call, deed: Deed) -> None:
    """Records nothing: for APIs that audit no route."""


@asynccontextmanager
async def room_for_all(priority: str) -> AsyncIterator[None]:
    """Lets everybody in."""
    yield


def unlimited(caller: str) -> None:
    """Lets everybody call as often as they like."""


def make_app(
    routes: Sequence[Route],
    authenticate: Authenticate = nobody,
    proxies: Proxies = Proxies(()),
    record: Record = forget,
    place: Place = room_for_all,
    meter: Meter = unlimited,
) -> web.Application:
    """The application that serves the table. `authenticate` returns None for the anonymous and
    raises Problem for credentials that are wrong; `record` keeps what audited routes did; `place`
    lets a call of some priority in, or raises Problem, and so does `meter` one of some caller, who
    is an account, a machine, or an address."""
    app = web.Application(middlewares=[_problems])
    traced: dict[tuple[str, str], tracing.Mode] = {}
    traced |= {(route.method, route.path): route.traced for route in routes if route.traced}
    app[_TRACED] = traced
    for route in routes:
        endpoint = _endpoint(route, authenticate, proxies, record, place, meter)
        app.router.add_route(route.method, route.path, endpoint)
        # HEAD is wherever GET is (RFC 9110 9.1), but for streams of events, which have no length.
        if route.method == "GET" and route.media_type != "text/event-stream":
            app.router.add_route("HEAD", route.path, endpoint)
    return app


def problem_response(problem: Problem, request_id: str = "") -> web.Response:
    """The answer that carries a problem."""
    headers = {"Cache-Control": "no-store"}
    if request_id:
        headers[REQUEST_ID] = request_id
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(
        body=problem.details(request_id).model_dump_json(),
        status=problem.status,
        content_type="application/problem+json",
        headers=headers,
    )


def has_tag(request: web.Request, tag: str) -> bool:
    """Whether `If-None-Match` names the tag (RFC 9110, 13.1.2): the caller has this answer."""
    return any(known.value in (tag, "*") for known in request.if_none_match or ())


def model_response(model: BaseModel | None, status: int = 200) -> web.Response:
    """A model as JSON; None as an empty answer."""
    if model is None:
        return web.Response(status=204 if status == 200 else status)
    return web.Response(
        body=model.model_dump_json(by_alias=True), status=status, content_type="application/json"
    )


def _endpoint(
    route: Route,
    authenticate: Authenticate,
    proxies: Proxies,
    record: Record,
    place: Place,
    meter: Meter,
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    params = {name: TypeAdapter(kind) for name, kind in route.params.items()}

    async def endpoint(request: web.Request) -> web.StreamResponse:
        if route.body is None and route.takes is None:
            async with place(route.priority):  # first of all: a refusal is to cost nothing
                return await answered(request, await entered(request), b"")
        # A body comes at its client's pace, and holds no place meanwhile.
        who = await entered(request)
        raw = await _read(request, route.max_body_bytes)
        async with place(route.priority):
            return await answered(request, who, raw)

    async def entered(request: web.Request) -> tuple[Caller | None, str]:
        """Who calls, and from what address."""
        for name, adapter in params.items():
            try:
                adapter.validate_python(request.match_info[name])
            except ValidationError:
                raise Problem("not_found", f"{name} is not one.") from None
        address = proxies.client(request.remote or "", request.headers.getall(proxies.header, ()))
        if not route.roles:
            meter(address)
        caller = await _authorize(route, request, authenticate)
        if caller is not None:
            meter(caller.user_id or caller.name)
        return caller, address

    async def answered(
        request: web.Request, who: tuple[Caller | None, str], raw: bytes
    ) -> web.StreamResponse:
        caller, address = who
        call = Call(
            request=request,
            path=dict(request.match_info),
            raw_body=_body(route, raw),
            raw_query=_query(route, request),
            caller=caller,
            request_id=request[_REQUEST_ID_KEY],
            address=address,
            raw=raw if route.takes is not None else b"",
        )
        answer = await (_recorded(route, call, record) if route.audited else route.handler(call))
        if isinstance(answer, web.StreamResponse):
            return answer
        return model_response(answer, route.status)

    return endpoint


async def _recorded(
    route: Route, call: Call, record: Record
) -> BaseModel | web.StreamResponse | None:
    """What the handler answers, once it is recorded; so is what it refuses."""
    what, subject = f"{route.method} {route.path}", " ".join(call.path.values())
    try:
        answer = await route.handler(call)
    except Problem as problem:
        await record(call, Deed(what, subject, problem.code))
        raise
    except Exception:
        await record(call, Deed(what, subject, "internal"))
        raise
    await record(call, Deed(what, subject or _made(answer), "ok"))
    return answer


def _made(answer: BaseModel | web.StreamResponse | None) -> str:
    """The id of what a call made: the first field of its answer that is one."""
    if isinstance(answer, BaseModel):
        for name in type(answer).model_fields:
            if name.endswith("_id"):
                return str(getattr(answer, name))
    return ""


async def _authorize(
    route: Route, request: web.Request, authenticate: Authenticate
) -> Caller | None:
    if not route.roles:
        return None
    caller = await authenticate(request)
    if caller is None:
        raise Problem("not_signed_in")
    if caller.role not in route.roles:
        raise Problem("not_allowed")
    return caller


def _body(route: Route, raw: bytes) -> BaseModel | None:
    if route.body is None:
        return None
    try:
        return route.body.model_validate_json(raw)
    except ValidationError as error:
        raise _invalid(error) from None


def valid(model: type[M], **fields: Any) -> M:
    """The request of these fields. Raises Problem `invalid_field` in the words of the model."""
    try:
        return model(**fields)
    except ValidationError as error:
        raise _invalid(error) from None


async def _read(request: web.Request, most: int) -> bytes:
    """The whole body, of which no more than `most` bytes are ever held, and not for long."""
    if (request.content_length or 0) <= most:
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                await request.content.readexactly(most + 1)
        except asyncio.IncompleteReadError as all_of_it:
            return all_of_it.partial
        except TimeoutError:
            raise Problem("bad_request", f"The body took over {BODY_TIMEOUT_S:.0f} s.") from None
    raise Problem("body_too_large", f"At most {most} bytes are taken here.")


def _query(route: Route, request: web.Request) -> BaseModel | None:
    if route.query is None:
        return None
    try:
        return route.query.model_validate(dict(request.query))
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> Problem:
    """What a model does not take, in one sentence."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return Problem("bad_request", "The body is not JSON.")
    where = ".".join(str(part) for part in first["loc"])
    return Problem("invalid_field", f"{where}: {first['msg']}." if where else f"{first['msg']}.")


@web.middleware
async def _problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Gives each request its id, its place in a trace, and each failure its problem document."""
    given = request.headers.get(REQUEST_ID, "")
    request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    request[_REQUEST_ID_KEY] = request_id
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        if not tracing.on():
            return await _answered(request, handler, request_id)
        route = _pattern(request)
        mode = request.app[_TRACED].get((request.method, route), "")
        parent = request.headers.get(tracing.TRACEPARENT, "")
        with tracing.serving(mode, parent, f"{request.method} {route}") as span:
            response = await _answered(request, handler, request_id)
            if span is not None:
                span.answered(response.status)
                span.attributes["nearcast.request_id"] = request_id
            return response


async def _answered(
    request: web.Request,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    request_id: str,
) -> web.StreamResponse:
    try:
        response = await handler(request)
    except Problem as problem:
        return problem_response(problem, request_id)
    except StoreFull:
        return problem_response(Problem("disk_full", "The store's disk is full."), request_id)
    except StoreUnavailable as error:
        return problem_response(Problem("store_unavailable", str(error)), request_id)
    except web.HTTPException as error:
        return problem_response(_from_http(error), request_id)
    except ConnectionError:
        raise  # the client left
    except Exception:
        logger().exception("request_failed", method=request.method, route=_pattern(request))
        return problem_response(Problem("internal"), request_id)
    if not response.prepared:
        response.headers.setdefault(REQUEST_ID, request_id)
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _pattern(request: web.Request) -> str:
    """The pattern, not the path: some addresses carry their authority in it."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""


def _from_http(error: web.HTTPException) -> Problem:
    codes = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
    return Problem(codes.get(error.status, "bad_request" if error.status < 500 else "internal"))
