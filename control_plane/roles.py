"""Who may do what: the roles of accounts, each with those above it, and of machines."""

from typing import get_args

from media.accounts import Role

ADMINS = frozenset({"admin"})
OPERATORS = ADMINS | {"operator"}
VIEWERS = OPERATORS | {"viewer"}
ENCODERS = frozenset({"encoder"})
STEERING = frozenset({"steering"})

_RANKS: dict[str, int] = {role: rank for rank, role in enumerate(get_args(Role))}


def lesser(one: str, other: str) -> str:
    """Of two roles of accounts, the one that may do less."""
    return min(one, other, key=_RANKS.__getitem__)
