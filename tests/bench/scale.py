"""1,000 TestRuns to Passed beside 1,000 bare Jobs, on fake nodes (kwok), in one run; and the operator's memory.

Run by `make bench-scale` on a cluster with fake nodes. In both arms this program gives every pod the message that a
real runner would leave (for a TestRun a valid summary, bound to the pod's uid), and kwok ends the pod with it.
"""

import argparse
import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable

import aiohttp

from bench.latency import ensure_namespace
from proctor.api import names
from proctor.core.results import Summary, digest_of, encode
from proctor.edge.client import ApiError, Client, Json

NAMESPACE = f"bench-scale-{uuid.uuid4().hex[:6]}"
PATIENCE = 900.0
STALL = 60.0
AT_ONCE = 32
FAKE = {
    "nodeSelector": {"type": "kwok"},
    "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}],
}
TESTS = ["test_a.py::test_a"]


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=1000, help="objects in each arm (default 1000)")
    parser.add_argument("--metrics", help="the operator's /metrics, to print its memory: http://HOST:8081/metrics")
    options = parser.parse_args()
    client = await Client.connect()
    try:
        await ensure_namespace(client, NAMESPACE)
        async with asyncio.TaskGroup() as group:
            annotator = group.create_task(_end_pods(client))
            await _measure(client, options.n, options.metrics)
            annotator.cancel()
    finally:
        namespace = await client.get("namespaces", "", NAMESPACE)
        await client.delete("namespaces", "", NAMESPACE, namespace["metadata"]["uid"])
        await _gone(client)
        await client.close()


async def _gone(client: Client) -> None:
    """Wait until all is deleted, so that a next measurement does not compete with it; at most five minutes."""
    for _ in range(150):
        left, _ = await client.list("namespaces", None)
        if NAMESPACE not in {namespace["metadata"]["name"] for namespace in left}:
            return
        await asyncio.sleep(2)
    print(f"{NAMESPACE} is still being deleted", flush=True)


async def _measure(client: Client, count: int, metrics: str | None) -> None:
    """Run both arms and print their figures."""
    before = await _memory(metrics)
    jobs = await _arm(client, "jobs", count, _job, _job_done)
    print(f"{count} bare Jobs:  {jobs:6.1f} s")
    runs = await _arm(client, "testruns", count, _run, _run_passed)
    print(f"{count} TestRuns:   {runs:6.1f} s, all Passed")
    print(f"ratio:            {runs / jobs:6.2f}")
    if before is not None:
        after = await _memory(metrics)
        print(f"operator memory:  {before:6.1f} MB before, {after:6.1f} MB with {count} finished runs")


async def _arm(
    client: Client, plural: str, count: int, body: Callable[[str], Json], done: Callable[[Json], bool]
) -> float:
    """Create `count` objects and return the seconds until all are done."""
    finished: set[str] = set()
    everything = asyncio.Event()
    _, since = await client.list(plural, NAMESPACE)

    async def follow() -> None:
        async for event in client.watch(plural, NAMESPACE, "proctor.dev/bench", since, int(PATIENCE)):
            if event["type"] in ("ADDED", "MODIFIED") and done(event["object"]):
                finished.add(event["object"]["metadata"]["name"])
                if len(finished) == count:
                    everything.set()

    async with asyncio.TaskGroup() as group:
        follower = group.create_task(follow())
        began = time.perf_counter()
        await _each(range(count), lambda i: client.create(plural, NAMESPACE, body(f"b-{plural}-{i}")))
        await _progress(plural, finished, count, everything)
        took = time.perf_counter() - began
        follower.cancel()
    return took


async def _progress(plural: str, finished: set[str], count: int, everything: asyncio.Event) -> None:
    """Tell how far it is every ten seconds; give up when nothing has moved for STALL seconds."""
    seen, moved = 0, time.monotonic()
    while not everything.is_set():
        try:
            await asyncio.wait_for(everything.wait(), 10)
        except TimeoutError:
            print(f"  {plural}: {len(finished)} of {count}", flush=True)
        if len(finished) > seen:
            seen, moved = len(finished), time.monotonic()
        if time.monotonic() - moved > STALL:
            raise RuntimeError(f"{plural}: only {len(finished)} of {count} are done, and nothing moves") from None


async def _each(items: range, call: Callable[[int], Awaitable[object]]) -> None:
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(item: int) -> None:
        async with turns:
            await call(item)

    await asyncio.gather(*(one(item) for item in items))


async def _end_pods(client: Client) -> None:
    """Give every pod of the benchmark its last words."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def end(pod: Json) -> None:
        async with turns:
            meta = pod["metadata"]
            patch = {"metadata": {"annotations": {"proctor.dev/fake-summary": _last_words(meta)}}}
            try:
                await client.merge("pods", NAMESPACE, meta["name"], patch)
            except ApiError as error:
                if error.status != 404:
                    raise

    async with asyncio.TaskGroup() as group:
        async for event in client.watch("pods", NAMESPACE, "", "0", int(2 * PATIENCE)):
            pod = event["object"]
            # Only once it runs: kwok would trip over a change that comes between its own two.
            running = event["type"] in ("ADDED", "MODIFIED") and pod["status"].get("phase") == "Running"
            if running and "proctor.dev/fake-summary" not in (pod["metadata"].get("annotations") or {}):
                group.create_task(end(pod))


def _last_words(meta: Json) -> str:
    labels = meta.get("labels") or {}
    tests = digest_of(TESTS)
    return encode(
        Summary(
            run=labels.get(names.LABEL_RUN_UID, ""),
            step=labels.get(names.LABEL_STEP, ""),
            index=0,
            pod=meta["uid"],
            complete=True,
            counts={"passed": 1},
            collection=tests,
            part=tests,
        )
    )


def _run(name: str) -> Json:
    suite = {"target": {"name": "none"}, "runner": FAKE, "steps": [{"name": "s", "startTimeout": "1h"}]}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"proctor.dev/bench": "scale"}}
    return {"apiVersion": names.API_VERSION, "kind": names.TEST_RUN, "metadata": metadata, "spec": {"suite": suite}}


def _job(name: str) -> Json:
    container = {"name": "runner", "image": "none", "command": ["true"]}
    pod = {"restartPolicy": "Never", "containers": [container]} | FAKE
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"proctor.dev/bench": "scale"}}
    spec = {"backoffLimit": 0, "template": {"spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _job_done(job: Json) -> bool:
    return any(c["type"] == "Complete" and c["status"] == "True" for c in job.get("status", {}).get("conditions") or [])


def _run_passed(run: Json) -> bool:
    verdict: str | None = run.get("status", {}).get("verdict")
    if verdict not in (None, "Passed"):
        raise AssertionError(f"{run['metadata']['name']}: {verdict}: {run['status'].get('message')}")
    return verdict == "Passed"


async def _memory(url: str | None) -> float | None:
    """Return the operator's resident memory in MB."""
    if url is None:
        return None
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        text = await answer.text()
    found = re.search(r"^process_resident_memory_bytes (\S+)$", text, re.M)
    return float(found.group(1)) / 2**20 if found else None


if __name__ == "__main__":
    asyncio.run(main())
