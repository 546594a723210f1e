"""Which rounds a matrix has: healthy ones first, then one for each fault that concerns the chosen suites."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from cards import Card


@dataclass(frozen=True)
class Round:
    """One state of the platform, and the suites that look at it. `card` is None in a healthy round."""

    name: str
    card: Card | None
    suites: tuple[str, ...]


def rounds(cards: Sequence[Card], suites: Sequence[str], healthy: int, *, full: bool = False) -> list[Round]:
    """All rounds in order. Suites are short names such as t03; `full` has every suite look at every fault."""
    result = [Round(f"healthy-{number}", None, tuple(suites)) for number in range(1, healthy + 1)]
    for card in cards:
        looking = tuple(suites) if full else tuple(suite for suite in suites if suite in card.suites)
        if looking:
            result.append(Round(card.id, card, looking))
    return result


def only(cards: Sequence[Card], fault: str | None) -> list[Card]:
    """The card of one fault, or all cards. Raises ValueError with the nearest names if there is no such fault."""
    chosen = [card for card in cards if fault in (None, card.id)]
    if not chosen:
        near = difflib.get_close_matches(fault or "", [card.id for card in cards], n=5, cutoff=0.4)
        raise ValueError(f"no fault {fault!r}; near: {', '.join(near) or 'none'} (`make faults` lists them all)")
    return chosen
