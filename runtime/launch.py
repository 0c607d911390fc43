"""The arguments that every service is started with: `python -m ROOM --data DIR …`."""

import argparse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from runtime.service import Service, run


@dataclass(frozen=True)
class Launch:
    """How a service was started. `flags` overrule every other source of settings."""

    data: Path
    config: Path | None
    instance: str
    ready_fd: int | None
    lifeline_fd: int | None
    log_level: str
    flags: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, parser: argparse.ArgumentParser, argv: list[str] | None = None) -> "Launch":
        """The launch of a command line; a wrong one ends the program with 2."""
        given = parser.parse_args(argv)
        flags = {}
        for pair in given.set:
            key, equals, value = pair.partition("=")
            if not equals:
                parser.error(f"--set wants KEY=VALUE, not {pair!r}")
            flags[key] = value
        return cls(
            data=given.data,
            config=given.config,
            instance=given.instance,
            ready_fd=given.ready_fd,
            lifeline_fd=given.lifeline_fd,
            log_level=given.log_level,
            flags=flags,
        )


def launch_parser(room: str) -> argparse.ArgumentParser:
    """The parser of a room's own program; a room may add flags to it."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {room}", description=f"Runs nearcast's {room} service until SIGTERM."
    )
    parser.add_argument("--data", type=Path, default=Path(".nearcast"), help="data folder")
    parser.add_argument("--config", type=Path, help="nearcast.toml")
    parser.add_argument("--instance", default=room, help="name of this instance")
    parser.add_argument("--ready-fd", type=int, help="gets one JSON line when the service answers")
    parser.add_argument("--lifeline-fd", type=int, help="the service stops when this pipe closes")
    parser.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"]
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="overrules a setting"
    )
    return parser


def start(room: str, main: Callable[[Service, Launch], Awaitable[None]]) -> int:
    """Runs the room's service as the command line says, and returns its exit code."""
    launch = Launch.parse(launch_parser(room))
    return run(
        room,
        launch.instance,
        lambda service: main(service, launch),
        ready_fd=launch.ready_fd,
        lifeline_fd=launch.lifeline_fd,
        log_level=launch.log_level,
    )
