"""The pages: files of the web folder, and the headers that keep them safe."""

from pathlib import Path

from aiohttp import web

# Segments come from appliances, which are other origins; players make blobs for MSE and workers.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' http: https: data: blob:",
        "media-src 'self' http: https: data: blob:",
        "connect-src 'self' http: https: data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".wasm": "application/wasm",
    ".txt": "text/plain; charset=utf-8",
}


class Pages:
    """Serves the files below `folder` whose ending is a known one; a folder by its index.html."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def serve(self, app: web.Application) -> None:
        """The pages are at every address that the API does not take."""
        app.router.add_get("/{path:(?!v1/).*}", self._page)
        app.on_response_prepare.append(_protect)

    def find(self, path: str) -> Path | None:
        """The file of an address; None for what is not there, hidden, or outside the folder."""
        if any(part.startswith(".") for part in path.split("/")) or "\0" in path:
            return None
        try:
            file = (self._folder / path.lstrip("/")).resolve()  # links are followed, then judged
            if file.is_dir():
                file /= "index.html"
            inside = file.is_relative_to(self._folder)
            return file if inside and file.suffix in CONTENT_TYPES and file.is_file() else None
        except OSError:  # longer than names can be
            return None

    async def _page(self, request: web.Request) -> web.StreamResponse:
        file = self.find(request.match_info["path"])
        if file is None:
            raise web.HTTPNotFound
        headers = {
            "Content-Type": CONTENT_TYPES[file.suffix],
            "Content-Security-Policy": POLICY,
            "Cache-Control": "no-cache",  # asked again by date each time: an update is seen at once
        }
        return web.FileResponse(file, headers=headers)


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    # Addresses of sessions carry tokens: they are told to nobody.
    response.headers.setdefault("Referrer-Policy", "no-referrer")
