"""Steering: knows the appliances, plans what they hold, and sends each viewer to the best ones.

Decisions (pure): `networks`, `places`, `holdings`, `roster`, `rank`, `placement`, `manifests`.
Hands: `archive`, `notices`, `catalog`, `contexts`, `server`. `app` wires them.
"""
