"""How every service of the house runs: settings, logs, errors, HTTP, start and stop, children."""
