"""Packages of random bytes, for tests that care about files and not about films."""

from lab.world import SIZES, MadePackage, make_keys, make_package

__all__ = ["SIZES", "MadePackage", "make_keys", "make_package"]
