"""`python -m steering --data DIR`: runs steering until SIGTERM."""

import sys

from runtime.launch import start
from steering.app import main

if __name__ == "__main__":
    sys.exit(start("steering", main))
