"""Planted faults: defects that an operator may switch on to measure a test suite. FAULTS names them."""

import os

_PLANTED = {entry.partition("=")[0].strip() for entry in os.environ.get("FAULTS", "").split(",")}


def fault(name: str) -> bool:
    """Whether a fault is planted; the variable is read once, when the process starts."""
    return name in _PLANTED
