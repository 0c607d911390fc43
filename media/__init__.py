"""The shared vocabulary: what every room says to every other, and the files they exchange.

Nothing here imports another room of the house, opens a socket of its own accord or
keeps state. Start with `inventory` (what a package is) and `fleet` (what machines say).
"""
