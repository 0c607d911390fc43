"""Pages of other origins (Fetch standard, CORS protocol): those that the settings name may use the
API, with a token in a header and no cookies. Session manifests are open to every page: see
`http_playback`."""

from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
HEADERS = "Authorization, Content-Type, If-None-Match, X-Request-Id"
EXPOSED = "ETag, Retry-After, X-Request-Id"


class Cors:
    """Answers for these origins."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._origins = frozenset(origins)

    def serve(self, app: web.Application) -> None:
        """The application's answers say so, and preflights are answered."""

        @web.middleware
        async def preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self._is_preflight(request):
                return web.Response(status=204)
            return await handler(request)

        app.middlewares.insert(0, preflight)
        app.on_response_prepare.append(self._allow)

    def _is_preflight(self, request: web.Request) -> bool:
        return (
            request.method == "OPTIONS"
            and "Access-Control-Request-Method" in request.headers
            and request.headers.get("Origin") in self._origins
        )

    async def _allow(self, request: web.Request, response: web.StreamResponse) -> None:
        origin = request.headers.get("Origin")
        if not self._origins or "Access-Control-Allow-Origin" in response.headers:
            return
        response.headers.add("Vary", "Origin")
        if origin not in self._origins:
            return
        response.headers["Access-Control-Allow-Origin"] = origin
        if self._is_preflight(request):
            response.headers["Access-Control-Allow-Methods"] = METHODS
            response.headers["Access-Control-Allow-Headers"] = HEADERS
            response.headers["Access-Control-Max-Age"] = "600"
        else:
            response.headers["Access-Control-Expose-Headers"] = EXPOSED
