"""`python -m control_plane --data DIR`: runs the control plane until SIGTERM."""

import sys

from control_plane.app import main
from runtime.launch import Launch, launch_parser
from runtime.service import run

if __name__ == "__main__":
    launch = Launch.parse(launch_parser("control_plane"))
    sys.exit(
        run(
            "control_plane",
            launch.instance,
            lambda service: main(service, launch),
            ready_fd=launch.ready_fd,
            lifeline_fd=launch.lifeline_fd,
            log_level=launch.log_level,
        )
    )
