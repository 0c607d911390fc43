"""`python -m steering --data DIR`: runs steering until SIGTERM."""

import sys

from runtime.launch import Launch, launch_parser
from runtime.service import Service, run
from runtime.settings import load
from steering.app import NAME, serve
from steering.settings import SteeringSettings


def main() -> int:
    """The program; returns its exit code."""
    launch = Launch.parse(launch_parser(NAME))

    async def live(service: Service) -> None:
        settings = load(SteeringSettings, NAME, file=launch.config, flags=launch.flags)
        await serve(service, launch.data, settings)

    return run(
        NAME,
        launch.instance,
        live,
        ready_fd=launch.ready_fd,
        lifeline_fd=launch.lifeline_fd,
        log_level=launch.log_level,
    )


if __name__ == "__main__":
    sys.exit(main())
