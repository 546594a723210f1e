"""How long a network cut lasts when its controller is gone: one of Proctor's beside one of Chaos Mesh, in one run.

Run by `make bench-heal`. As soon as a cut of 6 s is on, its controller (the operator; Chaos Mesh's controller-manager)
is scaled to zero. It comes back when the cut is over, or a minute after it should have been. How long the cut lasted is
the word of the same observer in all turns, a pod that needs no controller. In the end all is scaled up again.
"""

import argparse
import asyncio
import signal
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime

from e2e.faultworld import FaultWorld
from e2e.world import default_service_account, named
from proctor.api import names
from proctor.api.chaos import ChaosExperiment
from proctor.core.chaos import manifests
from proctor.core.timeline import TARGET, Timeline, decode, decode_deed
from proctor.edge import targets
from proctor.edge.client import Client, Json
from proctor.edge.experiments import MESH

ASKED = 6
"""Seconds of a cut."""
GIVE_UP = 60
"""Seconds after the end that never came, when a controller may come back and heal."""
OPERATOR = ("proctor-system", "proctor", "app.kubernetes.io/name=proctor")
CHAOS_MESH = ("chaos-mesh", "chaos-controller-manager", "app.kubernetes.io/component=controller-manager")
"""Namespace, Deployment, labels of its pods."""
BY_ITSELF = "by itself"
CUT = {"fault": "NetworkCut", "port": 8080, "duration": f"{ASKED}s", "recoveryTimeout": f"{2 * GIVE_UP}s"}


@dataclass(frozen=True)
class Turn:
    """How long a cut was seen to last, how long after its deadline it ended, in seconds, and what ended it."""

    lasted: float
    late: float
    end: str


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=3, help="cuts of Proctor's (default 3)")
    count: int = parser.parse_args().n
    this = asyncio.current_task()
    assert this is not None, "asyncio.run makes one"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    async with _world() as world:
        await world.web(container={"resources": {"requests": {"cpu": "200m"}}})  # else a busy machine starves it
        ours = [await _builtin(world, f"cut-{turn}") for turn in range(count)]
        kept = await _by_chaos_mesh(world, alone=False)
        left = await _by_chaos_mesh(world, alone=True)
    ours_lasted = statistics.median(turn.lasted for turn in ours)
    ours_late = statistics.median(turn.late for turn in ours)
    print(f"A cut of {ASKED} s:                lasted     late  ended")
    for what, turns in (("Proctor, no operator", ours), ("Chaos Mesh", [kept]), ("Chaos Mesh, no controller", [left])):
        for turn in turns:
            print(f"  {what:<28} {turn.lasted:5.1f} s {turn.late:6.1f} s  {turn.end}")
    print(
        f"ratio without a controller: {left.lasted / ours_lasted:.1f}; {left.late:.1f} s late against {ours_late:.1f} s"
    )


async def _builtin(world: FaultWorld, name: str) -> Turn:
    """Cut with the operator gone as soon as it has put the agent that cuts into the target."""
    experiment = ChaosExperiment.model_validate(await world.fault(name, **CUT))
    uid, cut = experiment.metadata.uid, manifests.child_name(experiment, manifests.CUT)
    await _until(lambda: _has_agent(world, cut), 90, "the operator did not inject")
    async with _without(world, OPERATOR) as gone_at:
        report = await _report(world, uid, GIVE_UP)
        (pod,), _ = await world.client.list("pods", world.namespace, "app=web")
    status = await world.judged(name)
    ended = targets.target_pod(pod).agents[cut].ended
    if report is None or ended is None or status["verdict"] != "Passed":
        sys.exit(f"{name}, with the operator back: {status}")
    await world.kubectl("delete", "chaosexperiment", name, "--timeout=60s")
    said = decode_deed(ended.message, experiment=uid, action=manifests.CUT)
    return _turn(report, (said.deadline or 0) / 1000, gone_at, BY_ITSELF)


async def _by_chaos_mesh(world: FaultWorld, *, alone: bool) -> Turn:
    """Cut as Proctor would by Chaos Mesh; `alone`: with the controller gone as soon as the cut is on."""
    (pod,) = await world.ready(1)
    body = named(names.API_VERSION, names.CHAOS_EXPERIMENT, "none")
    body["metadata"] |= {"namespace": world.namespace, "uid": str(uuid.uuid4())}
    reference = {"kind": "Pod", "name": pod["metadata"]["name"]}
    experiment = ChaosExperiment.model_validate(body | {"spec": CUT | {"targetRef": reference, "driver": "ChaosMesh"}})
    uid, target = experiment.metadata.uid, targets.target_pod(pod)
    observer, fault = manifests.observer(experiment, [target], world.image), manifests.mesh_fault(experiment, [target])
    for manifest in (observer, fault):
        del manifest["metadata"]["ownerReferences"]  # the experiment is not stored
    await world.client.create("pods", world.namespace, observer)
    await _until(lambda: _is_ready(world, uid), 90, "the observer was not Ready")
    made = await world.client.create(MESH[fault["kind"]], world.namespace, fault)
    deadline = datetime.fromisoformat(made["metadata"]["creationTimestamp"]).timestamp() + ASKED
    end = BY_ITSELF
    try:
        await _until(lambda: _is_injected(world, made), 30, "Chaos Mesh did not inject")
        async with _without(world, CHAOS_MESH) if alone else nullcontext(deadline) as gone_at:
            report = await _report(world, uid, deadline + GIVE_UP - time.time())
        if report is None:
            report, end = await _report(world, uid, 20), "its controller came back"
    finally:
        await world.kubectl("delete", "networkchaos", fault["metadata"]["name"], "--timeout=50s")
    if report is None:
        report, end = await _report(world, uid, 30), "its object was deleted, with the controller back for 20 s"
    if report is None:
        sys.exit("the cut of Chaos Mesh goes on although its object is gone")
    return _turn(report, deadline, gone_at, end)


def _turn(report: Timeline, deadline: float, gone_at: float, how: str) -> Turn:
    if gone_at > deadline:
        sys.exit(f"the controller went {gone_at - deadline:.1f} s after the cut should have ended: try again")
    (track,) = [track for track in report.tracks if track.role == TARGET]
    losses = [loss for loss in track.losses if loss.start / 1000 < deadline]
    if not losses or losses[-1].end is None:
        sys.exit(f"the observer did not see a cut that ended: {track}")
    end = losses[-1].end / 1000
    return Turn(end - losses[0].start / 1000, end - deadline, how)


@asynccontextmanager
async def _without(world: FaultWorld, controller: tuple[str, str, str]) -> AsyncIterator[float]:
    """End a controller and scale it to zero; back up at the end. Yields when it was gone, seconds since the epoch."""
    namespace, deployment, labels = controller
    client = world.client
    replicas = (await client.get("deployments", namespace, deployment))["spec"]["replicas"] or 1
    pods, _ = await client.list("pods", namespace, labels)
    try:
        for pod in pods:  # first, because the Deployment would leave them 30 s to end
            await client.delete("pods", namespace, pod["metadata"]["name"], pod["metadata"]["uid"], grace=1)
        await client.merge("deployments", namespace, deployment, {"spec": {"replicas": 0}})
        await _until(lambda: _is_gone(world, namespace, labels), 50, f"{deployment} did not go")
        yield time.time()
    finally:
        await client.merge("deployments", namespace, deployment, {"spec": {"replicas": replicas}})
        await world.kubectl("rollout", "status", f"deployment/{deployment}", "--namespace", namespace, "--timeout=50s")


async def _is_gone(world: FaultWorld, namespace: str, labels: str) -> bool:
    return not (await world.client.list("pods", namespace, labels))[0]


async def _report(world: FaultWorld, uid: str, seconds: float) -> Timeline | None:
    """Wait so long for the observer's last word; None if it still watches then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pod = await _observer(world, uid)
        helper = targets.helper_pod(pod)
        if helper.ended:
            return decode(helper.ended.message, experiment=uid, pod=helper.uid)
        await asyncio.sleep(0.2)
    return None


async def _observer(world: FaultWorld, uid: str) -> Json:
    (pod,), _ = await world.client.list("pods", world.namespace, f"{names.LABEL_EXPERIMENT_UID}={uid}")
    return pod


async def _has_agent(world: FaultWorld, name: str) -> bool:
    (pod,), _ = await world.client.list("pods", world.namespace, "app=web")
    return name in targets.target_pod(pod).agents


async def _is_ready(world: FaultWorld, uid: str) -> bool:
    return targets.helper_pod(await _observer(world, uid)).ready_since is not None


async def _is_injected(world: FaultWorld, made: Json) -> bool:
    meta = made["metadata"]
    return targets.mesh_fault(await world.client.get(MESH[made["kind"]], meta["namespace"], meta["name"])).injected


async def _until(true: Callable[[], Awaitable[bool]], seconds: float, complaint: str) -> None:
    end = time.monotonic() + seconds
    while not await true():
        if time.monotonic() > end:
            sys.exit(complaint)
        await asyncio.sleep(0.1)


@asynccontextmanager
async def _world() -> AsyncIterator[FaultWorld]:
    """A namespace in which the operator may make faults, deleted at the end."""
    client, namespace = await Client.connect(), f"bench-heal-{uuid.uuid4().hex[:4]}"
    body = named("v1", "Namespace", namespace)
    body["metadata"]["labels"] = {names.LABEL_CHAOS: names.CHAOS_ALLOWED}
    made = await client.create("namespaces", None, body)
    try:
        await default_service_account(client, namespace)
        operator = await client.get("deployments", *OPERATOR[:2])
        (container,) = operator["spec"]["template"]["spec"]["containers"]
        image = next(env["value"] for env in container["env"] if env["name"] == "PROCTOR_RUNNER_IMAGE")
        world = FaultWorld(client, namespace, image)
        await world.grant()
        yield world
    finally:
        await client.delete("namespaces", "", namespace, made["metadata"]["uid"])
        await client.close()


if __name__ == "__main__":
    asyncio.run(main())
