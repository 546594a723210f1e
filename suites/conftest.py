"""Fixtures that every suite has."""

from _fixtures.shops import database, seeded, shop, target

__all__ = ["database", "seeded", "shop", "target"]
