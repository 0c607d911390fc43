"""Logs: one JSON object a line on standard error, through structlog.

Every line has ts, level, event, service and instance, and what structlog's context variables hold
for the task at hand, such as request_id. Tokens and query strings are never logged: callers pass
ids.
"""

import logging
import sys
from typing import Any, cast

import structlog


def configure(service: str, instance: str, level: str = "info") -> None:
    """All logging of this process goes to standard error as JSON lines."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service, instance=instance)
    handler = logging.StreamHandler()
    handler.setFormatter(_Bridge())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("aiohttp.server").addFilter(_is_ours)


def logger() -> structlog.typing.FilteringBoundLogger:
    """The logger; its first argument is the event, in snake_case, the rest are keywords."""
    return cast(structlog.typing.FilteringBoundLogger, structlog.get_logger())


def _is_ours(record: logging.LogRecord) -> bool:
    """False for requests that are no HTTP: aiohttp logs them as errors of the service and quotes
    them, tokens and all, and anybody could fill a disk with them."""
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__module__ != "aiohttp.http_exceptions"


class _Bridge(logging.Formatter):
    """Lines of libraries that use `logging`, in the same shape."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = structlog.contextvars.get_contextvars() | {
            "event": "library", "level": record.levelname.lower(),
            "logger": record.name, "message": record.getMessage(),
        }  # fmt: skip
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        rendered = structlog.processors.JSONRenderer()(
            None,
            "",
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts")(None, "", fields),
        )
        return str(rendered)
