"""Runs over time: abort, suspend, edits, rollouts, exclusive steps, the same run again, and what suites start."""

import asyncio
from typing import Any

import pytest

from e2e.world import World, one_step
from proctor.edge.client import Json

pytestmark = pytest.mark.e2e

PASSING = {"test_a.py": "def test_a(): pass"}
SLOW = {"test_a.py": "import time\ndef test_a(): time.sleep(45)"}


def running(status: Json) -> bool:
    steps: list[Json] = status.get("steps") or [{}]
    return "Running" in [shard["state"] for step in steps for shard in step.get("shards") or []]


def two_steps(config_map: str, **second: Any) -> Json:
    suite = one_step(config_map)
    suite["steps"].append(suite["steps"][0] | {"name": "second"} | second)
    return suite


async def test_abort(world: World) -> None:
    await world.files("case", SLOW)
    await world.apply_run("case", {"suite": one_step("case")})
    await world.until("case", running)
    await world.client.merge("testruns", world.namespace, "case", {"spec": {"abort": True}})
    status = await world.verdict("case", patience=20)
    assert (status["verdict"], status["reason"]) == ("Error", "Aborted")
    for _ in range(100):
        if not await world.pods():
            return
        await asyncio.sleep(0.5)
    raise AssertionError("the aborted run's pods are still there")


async def test_abort_after_a_failure_was_seen_is_failed(world: World) -> None:
    await world.files("bad", {"test_a.py": "def test_a(): assert False, 'seen'"})
    await world.files("slow", SLOW)
    suite = one_step("bad")
    suite["steps"].append(one_step("slow")["steps"][0] | {"name": "second"})
    await world.apply_run("case", {"suite": suite})
    await world.until("case", lambda s: s.get("steps", [{}])[0].get("verdict") == "Failed")
    await world.client.merge("testruns", world.namespace, "case", {"spec": {"abort": True}})
    status = await world.verdict("case", patience=20)
    assert (status["verdict"], status["reason"]) == ("Failed", "TestsFailed")


async def test_suspend_stops_new_steps_only(world: World) -> None:
    await world.files("case", {"test_a.py": "import time\ndef test_a(): time.sleep(4)"})
    await world.apply_run("case", {"suite": two_steps("case", after=["tests"])})
    await world.until("case", running)
    await world.client.merge("testruns", world.namespace, "case", {"spec": {"suspend": True}})
    status = await world.until("case", lambda s: s["steps"][1].get("reason") == "Suspended")
    assert status["steps"][0]["verdict"] == "Passed", "what runs goes on"
    assert len(await world.jobs()) == 1
    await world.client.merge("testruns", world.namespace, "case", {"spec": {"suspend": False}})
    status = await world.verdict("case")
    assert status["verdict"] == "Passed"
    assert status["counts"]["passed"] == 2


async def test_a_suite_edited_in_the_middle_changes_the_next_run_only(world: World) -> None:
    await world.files("case", {"test_a.py": "import time\ndef test_a(): time.sleep(4)"})
    suite = two_steps("case", after=["tests"]) | {"run": {"triggers": []}}
    await world.apply_suite("suite", suite)
    await world.apply_run("case", {"suiteRef": {"name": "suite"}})
    await world.until("case", running)
    edited = [suite["steps"][0]]
    await world.client.merge("testsuites", world.namespace, "suite", {"spec": {"steps": edited}})
    status = await world.verdict("case")
    assert (status["verdict"], status["counts"]["passed"]) == ("Passed", 2)
    await world.apply_run("next", {"suiteRef": {"name": "suite"}})
    status = await world.verdict("next")
    assert (status["verdict"], status["counts"]["passed"]) == ("Passed", 1)


@pytest.mark.parametrize(
    "chosen",
    [{"matchLabels": {"app": "shop"}}, {"matchExpressions": [{"key": "app", "operator": "In", "values": ["shop"]}]}],
    ids=["labels", "expressions"],
)
async def test_target_rolled_out_in_the_middle_is_inconclusive(world: World, chosen: dict[str, Any]) -> None:
    await world.files("case", {"test_a.py": "import time\ndef test_a(): time.sleep(6)"})
    await deployment(world, "shop", chosen)
    target = {"name": "shop", "selector": {"matchLabels": {"app": "shop"}}}
    await world.apply_run("case", {"suite": one_step("case", target=target)})
    await world.until("case", running)
    template = {"spec": {"template": {"metadata": {"annotations": {"rolled": "out"}}}}}
    await world.client.merge("deployments", world.namespace, "shop", template)
    status = await world.verdict("case")
    assert (status["verdict"], status["reason"]) == ("Inconclusive", "TargetChanged")
    assert "Deployment/shop" in status["message"]
    assert [len(workload["images"]) for workload in status["target"]] == [1]
    assert status["counts"]["passed"] == 1


async def test_a_target_that_is_not_there_is_an_error(world: World) -> None:
    target = {"name": "shop", "selector": {"matchLabels": {"app": "shop"}}}
    status = await world.run("case", PASSING, target=target)
    assert (status["verdict"], status["reason"]) == ("Error", "TargetNotFound")


async def test_an_exclusive_step_runs_alone_on_its_target(world: World) -> None:
    files = {"test_a.py": "import time\ndef test_a(): time.sleep(3)"}
    await world.files("case", files)
    for name, exclusive in (("one", False), ("two", True), ("three", False)):
        suite = one_step("case", target_name="shared", step={"exclusive": exclusive})
        await world.apply_run(name, {"suite": suite})
        await asyncio.sleep(1.1)  # creation times have whole seconds, and order is by creation
    waiting = await world.until("two", lambda s: s.get("steps", [{}])[0].get("reason") == "WaitingForTarget")
    started = next(c for c in waiting["conditions"] if c["type"] == "Started")
    assert (started["status"], started["reason"]) == ("False", "WaitingForTarget")
    spans = {}
    for name in ("one", "two", "three"):
        status = await world.verdict(name)
        assert status["verdict"] == "Passed"
        spans[name] = (status["steps"][0]["startedAt"], status["steps"][0]["finishedAt"])
    assert spans["one"][1] <= spans["two"][0], "the exclusive step waited for the one before it"
    assert spans["two"][1] <= spans["three"][0], "the younger one waited for the exclusive step"


async def test_the_same_run_applied_deleted_and_applied_again(world: World) -> None:
    first = await world.run("case", PASSING)
    made = await world.client.get("testruns", world.namespace, "case")
    await world.client.delete("testruns", world.namespace, "case", made["metadata"]["uid"])
    await world.apply_run("case", {"suite": one_step("case")})
    second = await world.verdict("case")
    assert first["verdict"] == second["verdict"] == "Passed"
    assert first["steps"][0]["job"]["uid"] != second["steps"][0]["job"]["uid"]
    assert second["counts"]["passed"] == 1


async def test_a_suite_runs_once_for_each_edit(world: World) -> None:
    await world.files("case", PASSING)
    await world.apply_suite("suite", one_step("case"))
    await _suite_until(world, lambda s: s.get("lastRun", {}).get("verdict") == "Passed")
    await world.client.merge("testsuites", world.namespace, "suite", {"spec": {"suspend": True}})
    await world.client.merge("testsuites", world.namespace, "suite", {"spec": {"suspend": False}})
    await world.client.merge("testsuites", world.namespace, "suite", {"spec": {"parallelism": 3}})
    for _ in range(150):
        runs, _rv = await world.client.list("testruns", world.namespace)
        done = [run for run in runs if "verdict" in run.get("status", {})]
        if len(done) == 2:
            break
        await asyncio.sleep(0.2)
    assert len(runs) == 2, "one for its creation, one for the edit that changes what is run"
    assert {run["spec"]["trigger"] for run in runs} == {"SpecChange"}


async def test_replace_aborts_the_live_run_for_the_new_one(world: World) -> None:
    await world.files("slow", SLOW)
    await world.files("case", PASSING)
    await world.apply_suite("suite", one_step("slow") | {"run": {"concurrency": "Replace"}})
    await _suite_until(world, lambda s: s.get("active"))
    edited = one_step("case")["steps"]
    await world.client.merge("testsuites", world.namespace, "suite", {"spec": {"steps": edited}})
    await _suite_until(world, lambda s: s.get("lastRun", {}).get("verdict") == "Passed" and not s.get("active"))
    runs, _ = await world.client.list("testruns", world.namespace)
    assert sorted(run["status"]["reason"] for run in runs) == ["Aborted", "Passed"]


async def test_a_rollout_of_the_target_starts_one_run(world: World) -> None:
    await world.files("case", PASSING)
    await deployment(world, "shop")
    target = {"name": "shop", "selector": {"matchLabels": {"app": "shop"}}}
    await world.apply_suite("suite", one_step("case", target=target) | {"run": {"triggers": ["TargetChange"]}})
    await _suite_until(world, lambda s: s.get("targetFingerprint"))
    template = {"spec": {"template": {"metadata": {"annotations": {"rolled": "out"}}}}}
    await world.client.merge("deployments", world.namespace, "shop", template)
    await _suite_until(world, lambda s: s.get("lastRun", {}).get("verdict") == "Passed")
    await asyncio.sleep(7)  # longer than the period in which the target is looked at
    runs, _ = await world.client.list("testruns", world.namespace)
    assert [run["spec"]["trigger"] for run in runs] == ["TargetChange"]


async def test_unknown_fields_that_were_pruned_are_told(world: World) -> None:
    spec = {"suite": one_step("case")}
    applied = '{"spec": {"suite": {"target": {"name": "case"}, "paralelism": 3}}}'
    body = {
        "apiVersion": "proctor.dev/v1alpha1",
        "kind": "TestRun",
        "metadata": {
            "name": "case",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied},
        },
        "spec": spec,
    }
    await world.client.create("testruns", world.namespace, body)
    status = await world.verdict("case")
    assert (status["verdict"], status["reason"]) == ("Error", "UnknownField")
    assert "spec.suite.paralelism" in status["message"]
    accepted = next(c for c in status["conditions"] if c["type"] == "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "UnknownField")


async def deployment(world: World, name: str, chosen: dict[str, Any] | None = None) -> None:
    """Make a Deployment with one quick pod of the operator's image, and wait until it is available."""
    (operator,), _ = await world.client.list("deployments", "proctor-system", "app.kubernetes.io/name=proctor")
    image = operator["spec"]["template"]["spec"]["containers"][0]["image"]
    container = {
        "name": "c",
        "image": image,
        "command": ["sleep", "600"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {"containers": [container], "securityContext": security, "terminationGracePeriodSeconds": 0}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "selector": chosen or {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        },
    }
    await world.client.create("deployments", world.namespace, body)
    for _ in range(300):
        made = await world.client.get("deployments", world.namespace, name)
        if made.get("status", {}).get("availableReplicas") == 1:
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"Deployment {name} is not available after 60 s")


async def _suite_until(world: World, true: Any) -> None:
    for _ in range(400):
        status = (await world.client.get("testsuites", world.namespace, "suite")).get("status") or {}
        if true(status):
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"the suite did not get there; its status is {status}")
