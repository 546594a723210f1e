"""What the router sees of a text: hashed n-grams of words and of characters.

Training and serving share this one function, so they cannot differ. CRC-32 is the hash because Python's own differs
from process to process.
"""

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

BUCKETS = 1 << 14
MAX_CHARACTERS = 10_240
"""What lies behind is not looked at, so that no text costs more than some milliseconds."""


def features(text: str) -> NDArray[np.int64]:
    """The buckets of a text's n-grams, sorted and each once; empty for a text without words."""
    return np.unique(np.fromiter((crc32(gram.encode()) % BUCKETS for gram in _grams(text)), np.int64))


def _grams(text: str) -> Iterator[str]:
    words = ["^", *re.findall(r"\w+|\?", _normal(text)), "$"]
    for first, second in pairwise(words):
        yield f"2 {first} {second}"
    for word in words[1:-1]:
        yield f"1 {word}"
        padded = f"<{word}>"
        yield from (padded[start : start + 4] for start in range(len(padded) - 3))


def _normal(text: str) -> str:
    """Compatibility forms are folded, invisible characters dropped, and every digit is a 0: its value says nothing."""
    folded = unicodedata.normalize("NFKC", text[:MAX_CHARACTERS]).casefold()[:MAX_CHARACTERS]
    visible = "".join(character for character in folded if unicodedata.category(character) not in ("Cf", "Cs"))
    return re.sub(r"\d", "0", visible)
