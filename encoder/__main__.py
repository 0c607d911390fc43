"""`python -m encoder --data DIR …`: takes encode jobs of the control plane until SIGTERM."""

import sys

from encoder import app
from runtime.launch import Launch, launch_parser
from runtime.service import Service, run


def main() -> int:
    """Runs the encoder and returns its exit code."""
    launch = Launch.parse(launch_parser("encoder"))

    async def live(service: Service) -> None:
        await app.main(service, launch)

    return run(
        "encoder",
        launch.instance,
        live,
        ready_fd=launch.ready_fd,
        lifeline_fd=launch.lifeline_fd,
        log_level=launch.log_level,
    )


if __name__ == "__main__":
    sys.exit(main())
