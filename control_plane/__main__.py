"""`python -m control_plane --data DIR`: runs the control plane until SIGTERM."""

import sys

from control_plane.app import main
from runtime.launch import start

if __name__ == "__main__":
    sys.exit(start("control_plane", main))
