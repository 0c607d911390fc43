"""Who may do what: the roles of accounts, each with those above it, and of machines."""

ADMINS = frozenset({"admin"})
OPERATORS = ADMINS | {"operator"}
VIEWERS = OPERATORS | {"viewer"}
ENCODERS = frozenset({"encoder"})
STEERING = frozenset({"steering"})
