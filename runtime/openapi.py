"""The OpenAPI document of a table of routes."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from runtime.api import Call, Route
from runtime.errors import CODES, ProblemDetails

_VERBS = {"GET": "", "POST": "create", "PATCH": "change"}


def described(routes: Sequence[Route], title: str, version: str) -> list[Route]:
    """The table with one route more, `/openapi.json`, which describes the others."""

    @cache  # made when it is first asked for: it takes longer than all the rest of a start
    def document() -> dict[str, Any]:
        return openapi(routes, title, version)

    async def give(call: Call) -> web.Response:
        return web.json_response(document())

    here = Route(
        "GET",
        "/openapi.json",
        give,
        "The OpenAPI document of this API",
        media_type="application/json",
        operation="openapi",
    )
    return [*routes, here]


def openapi(routes: Sequence[Route], title: str, version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the table."""
    schemas: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = _operation(route, schemas)
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def operation_of(route: Route) -> str:
    """What a route is called where calls have names: its own `operation`, or by its method and
    path: `titles`, `title`, `create_title`, `change_title`, `delete_title`, `publish_title`."""
    if route.operation:
        return route.operation
    words = [word for word in route.path.split("/") if word not in ("", "v1")]
    nouns = [
        _noun(word, of_one=following.startswith("{"))
        for word, following in zip(words, [*words[1:], ""], strict=True)
        if not word.startswith("{")
    ]
    if route.method == "POST":
        if any(word.startswith("{") for word in words[:-1]) and not words[-1].startswith("{"):
            return "_".join([nouns[-1], *nouns[:-1]])
        nouns[-1] = nouns[-1].removesuffix("s")
    verb = _VERBS.get(route.method, route.method.lower())
    return "_".join([verb, *nouns] if verb else nouns)


def _noun(word: str, *, of_one: bool) -> str:
    noun = re.sub(r"[^a-z0-9]+", "_", word)
    return noun.removesuffix("s") if of_one else noun


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": operation_of(route),
        "responses": _responses(route, schemas),
    }
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": TypeAdapter(route.params.get(name, str)).json_schema(),
        }
        for name in re.findall(r"{(\w+)", route.path)
    ]
    if route.query is not None:
        described = _schema(route.query, "validation", schemas, inline=True)
        required = described.get("required", ())
        parameters += [
            {"name": name, "in": "query", "required": name in required, "schema": schema}
            for name, schema in described.get("properties", {}).items()
        ]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        schema = _schema(route.body, "validation", schemas)
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    if route.takes is not None:
        content = {route.takes: {"schema": {"type": "string", "format": "binary"}}}
        operation["requestBody"] = {"required": True, "content": content}
    if route.roles:
        operation["security"] = [{"bearer": []}]
        operation["description"] = f"Roles: {', '.join(sorted(route.roles))}."
    return operation


def _responses(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    codes = set(route.errors) | {"internal"}
    if route.params:
        codes.add("not_found")
    if route.priority:
        codes.add("overloaded")
    if route.roles:
        codes |= {"not_signed_in", "not_allowed", "signed_out", "token_expired", "token_invalid"}
    if route.body is not None:
        codes |= {"bad_request", "body_too_large", "invalid_field"}
    if route.takes is not None:
        codes |= {"bad_request", "body_too_large"}
    if route.query is not None:
        codes.add("invalid_field")
    problem = _schema(ProblemDetails, "serialization", schemas)
    responses: dict[str, Any] = {}
    for status in sorted({CODES[code].status for code in codes}):
        named = sorted(code for code in codes if CODES[code].status == status)
        responses[str(status)] = {
            "description": ", ".join(named),
            "content": {"application/problem+json": {"schema": problem}},
        }
    if route.answer is not None:
        schema = _schema(route.answer, "serialization", schemas)
        content = {route.media_type or "application/json": {"schema": schema}}
        responses[str(route.status)] = {"description": route.summary, "content": content}
    elif route.media_type is not None:
        responses[str(route.status)] = {
            "description": route.summary,
            "content": {route.media_type: {"schema": {}}},
        }
    else:
        status = 204 if route.status == 200 else route.status
        responses[str(status)] = {"description": route.summary}
    return dict(sorted(responses.items()))


def _schema(
    model: type[BaseModel], mode: Any, schemas: dict[str, Any], *, inline: bool = False
) -> dict[str, Any]:
    schema = model.model_json_schema(mode=mode, ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    if inline:
        return schema
    schemas[model.__name__] = schema
    return {"$ref": f"#/components/schemas/{model.__name__}"}
