"""Planted faults: defects that an operator of the platform may switch on to measure a test suite.

A site asks `fault(NAME)` and behaves wrongly only if the answer is not None. The environment variable FAULTS is read
once, when the process starts: entries `name`, `name=value` or `name=value@permille`, comma separated. With a permille a
fault hits only that share of traces, chosen by a hash of the trace id and FAULTS_SEED, so that one message meets it in
every role or in none.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from opentelemetry import trace
from prometheus_client import CollectorRegistry, Counter


@dataclass(frozen=True)
class Planted:
    """One planted fault: its parameter ("" if it has none) and the share of traces that it hits."""

    value: str
    permille: int


def parse(text: str) -> Mapping[str, Planted]:
    """Parse `a,b=3,c=x@50`. Raises ValueError for an entry without a name or a share that is not 1..1000."""
    planted: dict[str, Planted] = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        rest, _, share = entry.partition("@")
        name, _, value = rest.partition("=")
        if not name:
            raise ValueError(f"FAULTS has an entry without a name: {entry!r}")
        if share and not (share.isdecimal() and 1 <= int(share) <= 1000):
            raise ValueError(f"FAULTS: the share of {entry!r} is not 1..1000 permille")
        planted[name] = Planted(value, int(share or 1000))
    return MappingProxyType(planted)


_PLANTED = parse(os.environ.get("FAULTS", ""))
_SEED = os.environ.get("FAULTS_SEED", "0")
REGISTRY = CollectorRegistry()
"""How often each planted fault was met; apart from the metrics that anybody may read."""
_MET = Counter("fault_activations_total", "How often each fault was met.", ["fault"], registry=REGISTRY)


def fault(name: str) -> str | None:
    """The parameter of a planted fault ("" if it has none), or None where it is not planted or spares this trace."""
    planted = _PLANTED.get(name)
    if planted is None or not _hit(name, planted.permille):
        return None
    _MET.labels(name).inc()
    return planted.value


def _hit(name: str, permille: int) -> bool:
    if permille == 1000:
        return True
    trace_id = trace.get_current_span().get_span_context().trace_id
    digest = hashlib.sha256(f"{_SEED}/{name}/{trace_id:032x}".encode()).digest()
    return int.from_bytes(digest[:4]) % 1000 < permille
