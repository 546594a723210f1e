"""Fixtures that every suite has."""

from _fixtures.evidence import evidence
from _fixtures.shops import platform, seeded, shop

__all__ = ["evidence", "platform", "seeded", "shop"]
