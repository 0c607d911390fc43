"""The control plane: accounts, catalog, uploads, encode jobs, playback sessions, fleet, pages.

Read `routes` for what it answers, `app` for how its parts are wired. Only this room writes the
database. Appliances keep serving, and players playing, while it is away.
"""
