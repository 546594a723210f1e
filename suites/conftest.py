"""Fixtures and hooks that every suite has."""

from _fixtures.evidence import evidence
from _fixtures.modes import cassette_proxy, model_ready, pytest_collection_modifyitems, target
from _fixtures.shops import platform, seeded, shop

__all__ = [
    "cassette_proxy",
    "evidence",
    "model_ready",
    "platform",
    "pytest_collection_modifyitems",
    "seeded",
    "shop",
    "target",
]
