"""Faults and runs: a step's own faults, those that a test makes, and the exclusive lock between the two."""

import asyncio
import json
from datetime import datetime
from typing import Any

import pytest

from e2e.faultworld import WEB, FaultWorld, is_true
from e2e.world import named, one_step
from proctor.api import names
from proctor.edge.client import Json

pytestmark = pytest.mark.e2e

CALM = {"test_a.py": "def test_a(): pass"}
PATIENT = {"test_a.py": "import time\n\ndef test_a():\n    time.sleep(12)"}
PAUSE = {"fault": "Pause", "selector": {"matchLabels": WEB}, "duration": "3s", "limits": {"maxPercent": 100}}


async def test_fault_of_a_step_is_told_and_passes_with_it(faults: FaultWorld) -> None:
    await faults.web()
    await _run(faults, PATIENT, chaos=[{"template": PAUSE, "at": "1s"}])
    status = await faults.verdict("run")
    assert (status["verdict"], status["reason"]) == ("Passed", "Passed"), status
    (fault,) = status["chaos"]
    assert (fault["verdict"], fault["fault"], fault["step"]) == ("Passed", "Pause", "tests")
    assert fault["injectedAt"] < fault["healedAt"] <= fault["recoveredAt"]
    assert "1 fault" in next(c["message"] for c in status["conditions"] if c["type"] == names.ACCEPTED)


async def test_fault_without_effect_makes_the_run_inconclusive(faults: FaultWorld) -> None:
    await faults.web()
    cut = PAUSE | {"fault": "NetworkCut", "port": 9999}
    await _run(faults, PATIENT, chaos=[{"template": cut}])
    status = await faults.verdict("run")
    assert (status["verdict"], status["reason"]) == ("Inconclusive", names.STEADY_STATE_NOT_HELD), status
    assert status["counts"]["passed"] == 1


async def test_step_that_ends_before_its_fault_is_inconclusive(faults: FaultWorld) -> None:
    await faults.web()
    await _run(faults, CALM, chaos=[{"template": PAUSE, "at": "2m"}])
    status = await faults.verdict("run")
    assert (status["verdict"], status["reason"]) == ("Inconclusive", names.NOT_EFFECTIVE), status


async def test_abort_of_a_run_heals_its_fault(faults: FaultWorld) -> None:
    await faults.web()
    await _run(faults, PATIENT, chaos=[{"template": PAUSE | {"duration": "60s"}}])
    name = (await faults.until("run", lambda status: bool(status.get("chaos"))))["chaos"][0]["name"]
    await faults.experiment(name, is_true(names.INJECTED))
    await faults.client.merge("testruns", faults.namespace, "run", {"spec": {"abort": True}})
    assert (await faults.verdict("run"))["reason"] == names.ABORTED
    fault = await faults.judged(name)
    assert (fault["verdict"], fault["reason"]) == ("Error", names.ABORTED), fault
    await faults.ready(1)


async def test_a_test_makes_its_own_fault(faults: FaultWorld) -> None:
    await faults.web()
    test = """
        def test_web_comes_back(chaos):
            fault = chaos.inject("ProcessKill", selector={"app": "web"}, limits={"maxPercent": 100})
            status = fault.finish()
            assert status["verdict"] == "Passed"
    """
    files = {"test_a.py": "\n".join(line[8:] for line in test.splitlines())}
    await _run(faults, files, exclusive=True, serviceAccountName="proctor-chaos", evidence={"faults": 1})
    status = await faults.verdict("run")
    assert (status["verdict"], status["reason"]) == ("Passed", "Passed"), status
    (fault,) = status["chaos"]
    assert (fault["verdict"], fault["fault"]) == ("Passed", "ProcessKill")


async def test_an_account_is_only_for_those_who_may_make_pods(faults: FaultWorld) -> None:
    """Who may write TestRuns but not pods cannot borrow a service account by way of the operator."""
    await faults.files("run", CALM)
    await faults.kubectl("create", "serviceaccount", "writer")
    await faults.kubectl("create", "role", "writer", "--verb=create,get", "--resource=testruns.proctor.dev")
    await faults.kubectl(
        "create", "rolebinding", "writer", "--role=writer", f"--serviceaccount={faults.namespace}:writer"
    )
    run = named(names.API_VERSION, names.TEST_RUN, "borrowed")
    run["spec"] = {"suite": one_step("run", step={"serviceAccountName": "proctor-chaos"})}
    who = f"--as=system:serviceaccount:{faults.namespace}:writer"
    with pytest.raises(AssertionError, match="only who may create pods"):
        await faults.kubectl("create", "--filename", "-", who, stdin=json.dumps(run).encode())
    run = named(names.API_VERSION, names.TEST_RUN, "plain") | {"spec": {"suite": one_step("run")}}
    await faults.kubectl("create", "--filename", "-", who, stdin=json.dumps(run).encode())


async def test_exclusive_step_and_fault_wait_for_each_other(faults: FaultWorld) -> None:
    await faults.web()
    await faults.fault("first", **{key: value for key, value in PAUSE.items() if key != "selector"})
    await faults.experiment("first", is_true(names.ACCEPTED))
    await _run(faults, PATIENT, exclusive=True)
    waits = await faults.until("run", lambda status: bool(status.get("steps")))
    assert waits["steps"][0]["reason"] == names.WAITING_FOR_TARGET, waits["steps"]
    assert "first" in waits["steps"][0]["message"]
    first = await faults.judged("first")
    await faults.until("run", lambda status: status["steps"][0].get("startedAt") is not None)
    await faults.fault("second", **{key: value for key, value in PAUSE.items() if key != "selector"})
    second, run = await asyncio.gather(faults.judged("second"), faults.verdict("run"))
    assert (first["verdict"], run["verdict"], second["verdict"]) == ("Passed", "Passed", "Passed")
    assert _second(first["targets"][0]["healedAt"]) <= _second(run["steps"][0]["startedAt"])
    assert _second(run["steps"][0]["finishedAt"]) <= _second(second["targets"][0]["injectedAt"])


async def _run(faults: FaultWorld, files: dict[str, str], **step: Any) -> Json:
    await faults.files("run", files)
    return await faults.apply_run("run", {"suite": one_step("run", step=step)})


def _second(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())
