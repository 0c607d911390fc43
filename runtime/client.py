"""A JSON client for our own services: one time-out, errors as Problem, ids passed on."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import aiohttp
import structlog
from pydantic import BaseModel, ValidationError
from yarl import URL

from runtime import tracing
from runtime.api import REQUEST_ID
from runtime.errors import Problem, problem_of

M = TypeVar("M", bound=BaseModel)
MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024


class Client:
    """Calls of one service. `authorize` gives the bearer token of each call; `away` is the code of
    the Problem when the service does not answer."""

    def __init__(
        self,
        base_url: str,
        *,
        authorize: Callable[[], str | None] = lambda: None,
        timeout_s: float = 10.0,
        away: str = "unavailable",
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._authorize = authorize
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(timeout_s, 3.0))
        self._away = away
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def call(
        self,
        method: str,
        path: str,
        answer: type[M],
        *,
        body: BaseModel | bytes | None = None,
        query: dict[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> M:
        """The answer, parsed. Raises Problem: the service's own, or that it does not answer."""
        raw = await self.call_raw(method, path, body=body, query=query, timeout_s=timeout_s)
        try:
            return answer.model_validate_json(raw)
        except ValidationError:
            raise Problem(self._away, f"{self.base_url} gave an answer of another kind.") from None

    async def call_raw(
        self,
        method: str,
        path: str,
        *,
        body: BaseModel | bytes | None = None,
        query: dict[str, str] | None = None,
        timeout_s: float | None = None,
        known: str = "",
    ) -> bytes:
        """The bytes of the answer; none when it is still the one whose ETag is `known`. Raises
        Problem."""
        headers: dict[str, str] = {"If-None-Match": f'"{known}"'} if known else {}
        token = self._authorize()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        if request_id:
            headers[REQUEST_ID] = request_id
        headers |= tracing.outgoing()
        arguments: dict[str, Any] = {"headers": headers, "params": query, "allow_redirects": False}
        if isinstance(body, bytes):
            arguments["data"] = body  # aiohttp says that it is an octet-stream
        elif body is not None:
            arguments["data"] = body.model_dump_json(by_alias=True)
            headers["Content-Type"] = "application/json"
        if timeout_s is not None:
            arguments["timeout"] = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._open().request(method, self.base_url + path, **arguments) as response:
                raw = b""
                while piece := await response.content.readany():
                    raw += piece
                    if len(raw) > MAX_ANSWER_BYTES:
                        raise Problem(self._away, f"{self.base_url} sent too much.")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = str(error) or "time-out"
            raise Problem(self._away, f"{self.base_url} does not answer ({why}).") from None
        if response.status >= 400:
            raise _problem(raw, response.status, self._away)
        return raw

    async def send(
        self, method: str, url: str, data: bytes, *, timeout_s: float
    ) -> Mapping[str, str]:
        """Sends bytes to an absolute address and returns the headers of the answer. The token goes
        along only to this service's own origin. Raises Problem."""
        here, there = URL(self.base_url), URL(url)
        token = self._authorize() if here.origin() == there.origin() else None
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with self._open().request(
                method,
                URL(url, encoded=True),  # as it was signed
                data=data,
                headers=headers,
                skip_auto_headers=("Content-Type",),
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                allow_redirects=False,
            ) as response:
                raw = await response.content.read(MAX_ERROR_BYTES)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Problem(self._away, f"{there.origin()} does not answer ({error}).") from None
        if response.status >= 300:
            raise _problem(raw, response.status, self._away)
        return response.headers

    async def close(self) -> None:
        """Connections are closed."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self._session


def _problem(raw: bytes, status: int, away: str) -> Problem:
    return problem_of(raw) or Problem(away, f"the answer was HTTP {status}")
