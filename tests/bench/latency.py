"""How long from creating a TestRun until its pod exists, beside a bare Job, interleaved in one run.

Run by `make bench-latency` against a cluster whose operator is installed. The pods need not run: they ask for a node
that does not exist. Prints medians, the 95th percentile and the ratio.
"""

import argparse
import asyncio
import statistics
import time
import uuid

from proctor.api import names
from proctor.edge.client import ApiError, Client, Json

NAMESPACE = "bench-latency"
NOWHERE = {"proctor.dev/bench": "nowhere"}
PATIENCE = 20.0


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=50, help="pairs to measure (default 50)")
    count: int = parser.parse_args().n
    client = await Client.connect()
    try:
        await ensure_namespace(client, NAMESPACE)
        seen: dict[str, float] = {}
        changed = asyncio.Event()
        _, since = await client.list("pods", NAMESPACE)
        watcher = asyncio.create_task(_watch(client, since, seen, changed))
        times: dict[str, list[float]] = {"bare Job": [], "TestRun": []}
        for turn in range(count + 3):
            for kind in times:
                took = await _measure(client, kind, seen, changed)
                if turn >= 3:  # the first turns warm caches and connections
                    times[kind].append(took)
        watcher.cancel()
    finally:
        await client.close()
    medians = {kind: statistics.median(values) for kind, values in times.items()}
    for kind, values in times.items():
        print(f"{kind:>10}: median {medians[kind] * 1000:6.1f} ms, p95 {_p95(values) * 1000:6.1f} ms, n = {count}")
    print(f"     ratio: {medians['TestRun'] / medians['bare Job']:.2f}")


async def _measure(client: Client, kind: str, seen: dict[str, float], changed: asyncio.Event) -> float:
    name = f"b-{uuid.uuid4().hex[:10]}"
    plural, body = ("testruns", _run(name)) if kind == "TestRun" else ("jobs", _job(name))
    began = time.perf_counter()
    created = await client.create(plural, NAMESPACE, body)
    async with asyncio.timeout(PATIENCE):
        while not (found := [at for pod, at in seen.items() if pod.startswith(name)]):
            changed.clear()
            await changed.wait()
    await client.delete(plural, NAMESPACE, name, created["metadata"]["uid"])
    await asyncio.sleep(0.15)  # let the deletion finish, so that it is not part of the next figure
    return found[0] - began


async def _watch(client: Client, since: str, seen: dict[str, float], changed: asyncio.Event) -> None:
    async for event in client.watch("pods", NAMESPACE, "", since, 600):
        if event["type"] == "ADDED":
            seen[event["object"]["metadata"]["name"]] = time.perf_counter()
            changed.set()


async def ensure_namespace(client: Client, name: str) -> None:
    """Create a namespace unless it is there."""
    try:
        await client.create("namespaces", None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    except ApiError as error:
        if error.status != 409:
            raise


def _run(name: str) -> Json:
    step = {"name": "s", "startTimeout": "1h"}
    suite = {"target": {"name": "none"}, "runner": {"nodeSelector": NOWHERE}, "steps": [step]}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": names.API_VERSION, "kind": names.TEST_RUN, "metadata": metadata, "spec": {"suite": suite}}


def _job(name: str) -> Json:
    container = {"name": "c", "image": "none", "command": ["true"]}
    pod = {"restartPolicy": "Never", "nodeSelector": NOWHERE, "containers": [container]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }


def _p95(values: list[float]) -> float:
    return sorted(values)[max(0, round(0.95 * len(values)) - 1)]


if __name__ == "__main__":
    asyncio.run(main())
