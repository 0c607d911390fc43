"""`python -m appliance --instance north-1 …`: an appliance; `--part` is for its own children."""

import sys

from appliance import app
from runtime.launch import Launch, launch_parser
from runtime.service import Service, run


def main() -> int:
    parser = launch_parser("appliance")
    parser.add_argument("--part", default="parent", choices=["parent", "keeper", "worker"])
    parser.add_argument("--public-url", default="")
    parser.add_argument("--slot", type=int, default=0)
    parser.add_argument("--socket-fd", type=int, action="append", default=[])
    launch, given = Launch.parse(parser), parser.parse_args()

    async def live(service: Service) -> None:
        match given.part:
            case "keeper":
                await app.keeper(service, launch, given.public_url)
            case "worker":
                await app.worker(service, launch, given.slot, given.socket_fd)
            case _:
                await app.parent(service, launch)

    return run(
        "appliance",
        launch.instance,
        live,
        ready_fd=launch.ready_fd,
        lifeline_fd=launch.lifeline_fd,
        log_level=launch.log_level,
    )


if __name__ == "__main__":
    sys.exit(main())
