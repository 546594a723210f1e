"""Embeddings without a model to ship: hashed byte trigrams of each word with signs, as a unit vector.

This is feature hashing (Weinberger et al. 2009). The hash is written out because Python's own differs from process to
process, and over whole arrays, because documents come in thousands.
"""

import re

import numpy as np

DIMENSIONS = 128
_WORD = re.compile(r"\w+")
_SAYS_LITTLE = re.compile(
    r"a|an|and|are|at|be|by|can|do|does|for|from|have|how|i|in|is|it|me|my|of|on|or|the|there|to|we|what|when|where"
    r"|which|who|will|with|you|your"
)
_FACTORS = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D], dtype=np.uint32)
_SPACE = 32


def embed(text: str) -> str:
    """Embed a text; gives the pgvector literal of DIMENSIONS numbers with length 1."""
    words = [word for word in _WORD.findall(text.lower()) if not _SAYS_LITTLE.fullmatch(word)]
    padded = f" {' '.join(words)} ".encode()
    letters = np.frombuffer(padded, dtype=np.uint8).astype(np.uint32)
    code = letters[:-2] * _FACTORS[0] ^ letters[1:-1] * _FACTORS[1] ^ letters[2:] * _FACTORS[2]
    code = code[letters[1:-1] != _SPACE]
    code = (code ^ (code >> 15)) * np.uint32(0x2C1B3C6D)  # the last step of MurmurHash3, shortened: mixes all bits
    code ^= code >> 12
    signs = np.where(code & 0x8000_0000, 1.0, -1.0)
    vector = np.bincount(code % DIMENSIONS, weights=signs, minlength=DIMENSIONS)
    if not vector.any():
        vector[0] = 1.0  # no words: such texts are like each other, and a vector of length 0 is like nothing
    return "[" + ",".join(f"{x:.5g}" for x in (vector / np.linalg.norm(vector)).tolist()) + "]"
