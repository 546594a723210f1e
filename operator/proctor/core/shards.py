"""Which tests a shard runs: every pod collects everything and takes its part by the same pure rule.

Standard library and Python 3.10 only: the runner imports this inside images that have nothing of ours.
"""

import heapq
from collections.abc import Mapping, Sequence


def part(node_ids: Sequence[str], durations: Mapping[str, float], shards: int, index: int) -> list[str]:
    """Return the node ids of shard `index` of `shards`, in collection order.

    Longest processing time first (Graham 1969): tests by falling duration in seconds, each to the least loaded
    shard. A test without a known duration counts as the median of the known ones, or 1 s. Ties are broken by node id,
    so every pod that collected the same set gets the same answer. Repeated node ids stay together.

    Raises ValueError unless 0 <= index < shards.
    """
    if not 0 <= index < shards:
        raise ValueError(f"shard {index} of {shards} does not exist")
    distinct = sorted(set(node_ids))
    known = sorted(durations[node_id] for node_id in distinct if node_id in durations)
    usual = known[len(known) // 2] if known else 1.0
    loads = [(0.0, shard) for shard in range(shards)]
    mine: set[str] = set()
    for duration, node_id in sorted((-durations.get(node_id, usual), node_id) for node_id in distinct):
        load, shard = heapq.heappop(loads)
        heapq.heappush(loads, (load - duration, shard))
        if shard == index:
            mine.add(node_id)
    return [node_id for node_id in node_ids if node_id in mine]
