"""Bazaar: a small multi-agent shop that test systems can examine.

It is a real service with real servers behind it (PostgreSQL, NATS JetStream, Redis), so that what a suite finds here
it would find elsewhere. One package holds every role; `python -m bazaar ROLE` starts one.
"""
