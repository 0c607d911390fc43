"""`python -m encoder --data DIR …`: takes encode jobs of the control plane until SIGTERM."""

import sys

from encoder.app import main
from runtime.launch import start

if __name__ == "__main__":
    sys.exit(start("encoder", main))
