"""Invariant 5: faults end by their deadline whoever is dead, and the deletion of an experiment always ends."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from e2e.faultworld import ROOT, FaultWorld, conditions, is_true
from e2e.test_faults import FAULTS
from proctor.api import names
from proctor.core import timeline
from proctor.core.chaos import manifests
from proctor.edge.client import Json

pytestmark = pytest.mark.e2e

LATEST = 2.0
"""Seconds after its deadline by which a fault must have healed."""
OPERATOR = "app.kubernetes.io/name=proctor"


@pytest_asyncio.fixture
async def operator_killed(faults: FaultWorld) -> AsyncIterator[Any]:
    """Return what kills the operator with SIGKILL and keeps it away; afterwards it is there again."""
    name = ""

    async def kill() -> None:
        nonlocal name
        (deployment,), _ = await faults.client.list("deployments", "proctor-system", OPERATOR)
        pods, _ = await faults.client.list("pods", "proctor-system", OPERATOR)
        name = deployment["metadata"]["name"]
        await _scale(faults, name, 0)
        for pod in pods:
            for pid in _processes_of(pod):
                os.kill(pid, signal.SIGKILL)

    yield kill
    if name:
        await _scale(faults, name, 1)
        await faults.kubectl(
            "rollout", "status", f"deployment/{name}", "--namespace", "proctor-system", "--timeout=50s"
        )


@pytest.fixture
def api_server() -> Iterator[Any]:
    """Return what stops the API server of the local cluster; afterwards it goes on."""
    stopped: list[int] = []

    def stop() -> None:
        for pid in _named("kube-apiserver"):
            os.kill(pid, signal.SIGSTOP)
            stopped.append(pid)
        if not stopped:
            pytest.skip("the API server is no process of this machine")

    def go_on() -> None:
        while stopped:
            os.kill(stopped.pop(), signal.SIGCONT)

    yield stop, go_on
    go_on()


@pytest.mark.alone
@pytest.mark.parametrize("kind", ["NetworkCut", "Pause", "ProcessKill"])
async def test_invariant_5_heals_with_the_operator_dead(faults: FaultWorld, operator_killed: Any, kind: str) -> None:
    await faults.web()
    made = await faults.fault("fault", **FAULTS[kind])
    status = await faults.experiment("fault", is_true(names.INJECTED))
    await operator_killed()
    began = _began(status)
    report = await faults.report(made["metadata"]["uid"])
    late = _healed(report) - began - _seconds(kind)
    print(f"{kind}: healed {late:+.2f} s after its deadline, with the operator dead")
    assert report.end == timeline.RECOVERED, report
    if kind != "ProcessKill":  # Which is over at once; its container's start is not the fault's.
        assert late <= LATEST


@pytest.mark.alone
async def test_invariant_5_outage_ends_with_the_operator_dead(faults: FaultWorld, operator_killed: Any) -> None:
    await faults.web()
    made = await faults.fault("fault", **FAULTS["Outage"])
    status = await faults.experiment("fault", is_true(names.INJECTED))
    await operator_killed()
    deed = await faults.deed(manifests.OUTAGE, made["metadata"]["uid"])
    assert deed.healed_at is not None, deed
    late = deed.healed_at / 1000 - _began(status) - _seconds("Outage")
    print(f"Outage: scaled back {late:+.2f} s after its deadline, with the operator dead")
    assert late <= LATEST
    await faults.ready(1)


@pytest.mark.alone
@pytest.mark.parametrize("kind", ["NetworkCut", "Pause"])
async def test_invariant_5_heals_with_the_api_server_stopped_too(
    faults: FaultWorld, operator_killed: Any, api_server: Any, kind: str
) -> None:
    await faults.web()
    made = await faults.fault("fault", **FAULTS[kind])
    status = await faults.experiment("fault", is_true(names.INJECTED))
    await operator_killed()
    stop, go_on = api_server
    stop()
    await asyncio.sleep(_seconds(kind) + 2)
    go_on()
    report = await faults.report(made["metadata"]["uid"])
    late = _healed(report) - _began(status) - _seconds(kind)
    print(f"{kind}: healed {late:+.2f} s after its deadline, with the operator and the API server dead")
    assert report.end == timeline.RECOVERED, report
    assert late <= LATEST


@pytest.mark.alone
async def test_invariant_5_outage_ends_when_the_api_server_is_back(
    faults: FaultWorld, operator_killed: Any, api_server: Any
) -> None:
    await faults.web()
    await faults.fault("fault", **FAULTS["Outage"])
    await faults.experiment("fault", is_true(names.INJECTED))
    await operator_killed()
    stop, go_on = api_server
    stop()
    await asyncio.sleep(_seconds("Outage") + 2)
    go_on()
    back = time.time()
    while (await faults.client.get("deployments", faults.namespace, "web"))["spec"]["replicas"] == 0:
        assert time.time() < back + 30, "the outage did not end"
        await asyncio.sleep(0.05)
    late = time.time() - back
    print(f"Outage: scaled back {late:.2f} s after the API server's return, with the operator dead")
    assert late <= LATEST


@pytest.mark.alone
async def test_operator_that_was_away_still_tells_the_truth(faults: FaultWorld, operator_killed: Any) -> None:
    await faults.web()
    await faults.fault("fault", **FAULTS["NetworkCut"])
    await faults.experiment("fault", is_true(names.INJECTED))
    await operator_killed()
    await asyncio.sleep(_seconds("NetworkCut") + 5)
    await _scale(faults, "proctor", 1)
    status = await faults.judged("fault")
    assert status["verdict"] == "Passed", status
    assert conditions(status)[names.EFFECTIVE] == "True"


@pytest.mark.parametrize("phase", ["at-once", names.ACCEPTED, names.INJECTED, names.HEALED])
@pytest.mark.parametrize("kind", ["NetworkCut", "Outage"])
async def test_deletion_ends_at_every_phase(faults: FaultWorld, kind: str, phase: str) -> None:
    await faults.web()
    await faults.fault("fault", **FAULTS[kind] | {"duration": "60s" if phase != names.HEALED else "3s"})
    if phase != "at-once":
        await faults.experiment("fault", is_true(phase))
    await faults.kubectl("delete", "chaosexperiment", "fault", "--wait=false")
    took = await faults.gone("fault")
    print(f"{kind} deleted {phase}: gone after {took:.1f} s")
    # Long before the deadline: what was on is off.
    await faults.ready(1)
    (pod,) = await faults.ready(1)
    assert await _answers(faults, pod)


async def test_abort_heals_at_once(faults: FaultWorld) -> None:
    await faults.web()
    await faults.fault("fault", **FAULTS["NetworkCut"] | {"duration": "60s"})
    await faults.experiment("fault", is_true(names.INJECTED))
    await faults.client.merge("chaosexperiments", faults.namespace, "fault", {"spec": {"abort": True}})
    status = await faults.judged("fault")
    assert (status["verdict"], status["reason"]) == ("Error", names.ABORTED), status
    assert conditions(status)[names.HEALED] == "True"
    (pod,) = await faults.ready(1)
    assert await _answers(faults, pod)


@pytest.mark.parametrize("kind", ["NetworkCut", "Outage"])
async def test_deletion_of_the_namespace_ends_in_the_middle_of_a_fault(faults: FaultWorld, kind: str) -> None:
    await faults.web()
    await faults.fault("fault", **FAULTS[kind] | {"duration": "60s"})
    await faults.experiment("fault", is_true(names.INJECTED))
    await faults.kubectl("delete", "namespace", faults.namespace, "--wait=true", "--timeout=55s")


@pytest.mark.alone
async def test_uninstall_in_the_middle_of_a_fault_ends_and_heals(faults: FaultWorld) -> None:
    await faults.web()
    await faults.fault("fault", **FAULTS["NetworkCut"] | {"duration": "120s"})
    await faults.experiment("fault", is_true(names.INJECTED))
    _helm(
        "upgrade",
        "proctor",
        str(ROOT / "helm/proctor"),
        "--reuse-values",
        "--set",
        f"chaos.namespaces={{{faults.namespace}}}",
        "--take-ownership",
        "--wait",
        "--timeout",
        "2m",
    )
    try:
        _helm("uninstall", "proctor", "--wait", "--timeout", "3m")
        experiment = await faults.client.get("chaosexperiments", faults.namespace, "fault")
        assert "finalizers" not in experiment["metadata"]
        assert conditions(experiment["status"])[names.HEALED] == "True"
        (pod,) = await faults.ready(1)
        assert await _answers(faults, pod)
        await faults.kubectl("delete", "chaosexperiment", "fault", "--timeout=20s")
    finally:
        _helm(
            "upgrade",
            "--install",
            "proctor",
            str(ROOT / "helm/proctor"),
            "--create-namespace",
            "--values",
            str(ROOT / "build/images.yaml"),
            "--take-ownership",
            "--wait",
            "--timeout",
            "5m",
        )


def _helm(*arguments: str) -> None:
    done = subprocess.run(
        ["helm", *arguments, "--namespace", "proctor-system"], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr


def _seconds(kind: str) -> int:
    return int(FAULTS[kind].get("duration", "0s")[:-1])


def _began(status: Json) -> float:
    return max(datetime.fromisoformat(target["injectedAt"]).timestamp() for target in status["targets"])


def _healed(report: timeline.Timeline) -> float:
    """When the last loss of a target ended, by the observer."""
    ends = [loss.end for track in report.tracks if track.role == timeline.TARGET for loss in track.losses]
    assert ends, "no loss was seen"
    assert None not in ends, report
    return max(end for end in ends if end is not None) / 1000


async def _answers(faults: FaultWorld, pod: Json) -> bool:
    name = pod["metadata"]["name"]
    script = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8080', timeout=5).status)"
    return (await faults.kubectl("exec", name, "--", "python3", "-c", script)).strip() == "200"


async def _scale(faults: FaultWorld, name: str, replicas: int) -> None:
    await faults.client.merge("deployments", "proctor-system", name, {"spec": {"replicas": replicas}})


def _processes_of(pod: Json) -> list[int]:
    """Return the processes of a pod's containers, by their ids on this machine."""
    ids = [one["containerID"].rpartition("/")[2] for one in pod["status"].get("containerStatuses") or []]
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                text = (folder / "cgroup").read_text()
                found += [int(folder.name)] if any(one in text for one in ids) else []
    return found


def _named(name: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                found += [int(folder.name)] if (folder / "comm").read_text().strip() == name else []
    return found
