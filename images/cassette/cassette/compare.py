"""What tells two requests or answers apart: a miss that names the first difference can be understood."""

from itertools import zip_longest
from typing import Any

from cassette.store import Asked, Store

_EXCERPT = 80


def nearest(store: Store, asked: Asked) -> dict[str, Any] | None:
    """The recorded request that shares the longest beginning with this one, and where they part; None if there is none.

    Both are in canonical form, so the order of members does not matter.
    """
    wanted = asked.canonical
    every = [(name, i) for name, found in sorted(store.cassettes.items()) for _, i in sorted(found.items())]
    alike = [(name, i) for name, i in every if i.request.path == asked.path]
    if not alike:
        return None
    name, best = max(alike, key=lambda item: _shared(item[1].request.canonical, wanted))
    return {"cassette": name, "id": best.id, **difference(best.request.body, asked.body)}


def difference(recorded: Any, now: Any, where: str = "body") -> dict[str, Any]:
    """Where two JSON values differ first, and what is there in each."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        for name in sorted({*recorded, *now}):
            if recorded.get(name) != now.get(name):
                return difference(recorded.get(name), now.get(name), f"{where}.{name}")
    if isinstance(recorded, list) and isinstance(now, list):
        for index, (one, other) in enumerate(zip_longest(recorded, now)):
            if one != other:
                return difference(one, other, f"{where}[{index}]")
    one, other = str(recorded), str(now)
    start = max(0, _shared(one.encode("utf-32-le"), other.encode("utf-32-le")) // 4 - _EXCERPT // 4)
    return {"where": where, "recorded": one[start : start + _EXCERPT], "now": other[start : start + _EXCERPT]}


def _shared(one: bytes, other: bytes) -> int:
    """The length of the common beginning, by bisection because slices compare fast."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low
