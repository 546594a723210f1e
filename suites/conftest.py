"""Fixtures that every suite has."""

from _fixtures.shops import platform, seeded, shop

__all__ = ["platform", "seeded", "shop"]
