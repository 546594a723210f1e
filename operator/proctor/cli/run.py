"""`proctor run`: one TestRun of a TestSuite, now."""

import time
from typing import Any

from proctor.api.names import API_VERSION, GROUP, TEST_RUN
from proctor.cli import kubectl

TRIGGER = "Manual"
_OPERATOR_SECONDS = 15
"""How long `live` gives the operator to look at a suite that was just applied."""


def manifest(suite: str, *, steps: list[str], mode: str | None, seed: int | None) -> dict[str, Any]:
    """Return the TestRun that `create` sends; the API server completes its name."""
    spec: dict[str, Any] = {"suiteRef": {"name": suite}, "trigger": TRIGGER}
    if steps:
        spec["steps"] = steps
    if mode is not None:
        spec["mode"] = mode
    if seed is not None:
        spec["seed"] = seed
    return {"apiVersion": API_VERSION, "kind": TEST_RUN, "metadata": {"generateName": f"{suite}-"}, "spec": spec}


def create(
    suite: str, *, namespace: str | None, steps: list[str], mode: str | None, seed: int | None
) -> tuple[str, str]:
    """Create the run and return its namespace and name. Raises CommandError, NotFound if there is no such suite."""
    # The operator would refuse the run too, but a typo should fail here and leave nothing behind.
    kubectl.call(["get", f"testsuites.{GROUP}", suite], namespace=namespace)
    made = kubectl.call(["create"], namespace=namespace, document=manifest(suite, steps=steps, mode=mode, seed=seed))
    return made["metadata"]["namespace"], made["metadata"]["name"]


def live(suite: str, *, namespace: str | None) -> tuple[str, str] | None:
    """Return namespace and name of a run of the suite that goes on, once the operator has seen the suite's last edit.

    An edit may have started that run, so one look right after `kubectl apply` would come too early.
    """
    for _ in range(_OPERATOR_SECONDS):
        found = kubectl.call(["get", f"testsuites.{GROUP}", suite], namespace=namespace)
        if found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]:
            break
        time.sleep(1)
    runs = kubectl.call(["get", f"testruns.{GROUP}"], namespace=namespace)["items"]
    going = [
        run
        for run in runs
        if run["spec"].get("suiteRef", {}).get("name") == suite and "verdict" not in run.get("status", {})
    ]
    if not going:
        return None
    newest = max(going, key=lambda run: str(run["metadata"]["creationTimestamp"]))["metadata"]
    return newest["namespace"], newest["name"]
