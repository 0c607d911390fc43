"""The console command, the local cluster and the demo. Starts the rooms as processes."""

__version__ = "0.1.0"
