"""Planted faults: defects that an operator of the platform may switch on to measure a test suite.

A site asks `fault("name")` and behaves wrongly only if the answer is not None. The environment variable FAULTS
(`name` or `name=value`, comma separated) is read once, when the process starts.
"""

import os
from collections.abc import Mapping
from types import MappingProxyType


def parse(text: str) -> Mapping[str, str]:
    """Parse `a,b=3` into {"a": "", "b": "3"}. Raises ValueError for an entry without a name."""
    planted: dict[str, str] = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        name, _, value = entry.partition("=")
        if not name:
            raise ValueError(f"FAULTS has an entry without a name: {entry!r}")
        planted[name] = value
    return MappingProxyType(planted)


_PLANTED = parse(os.environ.get("FAULTS", ""))


def fault(name: str) -> str | None:
    """The parameter of a planted fault ("" if it has none), or None where it is not planted."""
    return _PLANTED.get(name)
