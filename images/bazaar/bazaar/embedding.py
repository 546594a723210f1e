"""Embeddings without a model to ship: hashed character trigrams of each word, as a unit vector.

CRC-32 is the hash because Python's own differs from process to process.
"""

import math
import re
from zlib import crc32

DIMENSIONS = 256


def embed(text: str) -> str:
    """Embed a text; gives the pgvector literal of DIMENSIONS numbers with length 1 (or all zero for no words)."""
    vector = [0.0] * DIMENSIONS
    for word in re.findall(r"\w+", text.lower()):
        padded = f"<{word}>"
        for start in range(len(padded) - 2):
            code = crc32(padded[start : start + 3].encode())
            vector[code % DIMENSIONS] += 1.0 if code & 0x8000_0000 else -1.0
    length = math.sqrt(sum(x * x for x in vector)) or 1.0
    return "[" + ",".join(f"{x / length:.6f}" for x in vector) + "]"
