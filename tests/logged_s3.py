"""An S3 server (moto) on loopback that keeps a log of who asked it for what."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any, NamedTuple

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server


class Asked(NamedTuple):
    """A request; `key` is the object's, empty for one of the bucket."""

    method: str
    key: str
    agent: str

    @property
    def by_appliance(self) -> bool:
        """Of packages, the control plane and the encoder ask through boto3; appliances through a
        client of their own, and of nothing else."""
        return self.key.startswith("titles/") and not self.agent.startswith("Boto3/")


class _Handler(MotoRequestHandler):
    def log_request(self, *_: object) -> None:
        """The log is ours."""


class LoggedS3:
    """The server's address, and its log."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.log: list[Asked] = []
        self._app = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        key = environ["PATH_INFO"].lstrip("/").partition("/")[2]
        agent = environ.get("HTTP_USER_AGENT", "")
        self.log.append(Asked(environ["REQUEST_METHOD"], key, agent))
        return self._app(environ, start_response)

    def reads(self, since: int = 0) -> list[Asked]:
        """What objects were read, from the log's line `since` on."""
        return [one for one in self.log[since:] if one.key and one.method in ("GET", "HEAD")]


@contextmanager
def logged_s3() -> Iterator[LoggedS3]:
    """Runs until the block ends."""
    logged = LoggedS3()
    server = make_server("127.0.0.1", 0, logged, threaded=True, request_handler=_Handler)
    logged.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield logged
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
