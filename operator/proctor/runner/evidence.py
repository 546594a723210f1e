"""What a test counted of what it saw: its user properties `evidence:NAME`, as pytest's record_property writes them.

Whatever is not a count is told at once, at the test: evidence that is dropped silently would only show as a step that
is Inconclusive for no reason that anyone can see.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from proctor.api.names import EVIDENCE_NAME, EVIDENCE_PREFIX

MAX_COUNT = 10**9
"""The most that one property may count."""


def counted(properties: Iterable[Sequence[Any]]) -> tuple[dict[str, int], str]:
    """Return the sums by name of a test's user properties, and what is wrong with the first that is no count, or ""."""
    sums: dict[str, int] = {}
    wrong = ""
    for name, value in properties:
        if not isinstance(name, str) or not name.startswith(EVIDENCE_PREFIX):
            continue
        short = name.removeprefix(EVIDENCE_PREFIX)
        if not re.fullmatch(EVIDENCE_NAME, short):
            wrong = (
                wrong or f"the property {name!r}: evidence is named like [a-z][a-z0-9_-]*, with 32 characters at most"
            )
        elif type(value) is not int or not 0 <= value <= MAX_COUNT:
            wrong = (
                wrong or f"the property {name!r} is {value!r:.100}: evidence is a whole number from 0 to {MAX_COUNT}"
            )
        else:
            sums[short] = sums.get(short, 0) + value
    return sums, wrong
