"""`nearcast simulate`: a seeded world in which the shipped decisions are at work.

scenario.py says what the world is like, catalog.py and viewing.py play it (world.py): which titles
there are, and who watches what, when and where; they know of no appliance. box.py is an appliance,
network.py says who serves whom, with the modules that ship in them, and fleet.py is all of them
together. serving.py is what viewers ask for, planning.py what steering fills, variants.py what
decides. run.py is the calendar, several.py many runs at once, ledger.py counts, summary.py and
picture.py tell it, and clairvoyant.py says what could have been.
"""
