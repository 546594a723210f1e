"""Decisions. Nothing here has a clock, I/O, randomness or asyncio: time and seeds are arguments."""
