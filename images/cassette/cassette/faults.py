"""Planted faults: defects that an operator may switch on to measure a test suite. FAULTS names them."""

import os

from prometheus_client import CollectorRegistry, Counter

_PLANTED = {entry.partition("=")[0].strip() for entry in os.environ.get("FAULTS", "").split(",")}
REGISTRY = CollectorRegistry()  # not the one that /metrics shows
_ACTIVATIONS = Counter("fault_activations_total", "How often each fault was met.", ["fault"], registry=REGISTRY)


def fault(name: str) -> bool:
    """Whether a fault is planted; the variable is read once, when the process starts."""
    if name in _PLANTED:
        _ACTIVATIONS.labels(name).inc()
    return name in _PLANTED
