"""One suite in one round: a TestRun with the suite in place, awaited, and what it said."""

import json
import uuid
from typing import Any

import yaml

import cards
from matrix.judge import Seen
from matrix.planting import NAMESPACE, ROOT, apply, run

LIMIT = "15m"


def folder(suite: str) -> str:
    """The folder of a suite's short name: t03 -> t03_journeys. Raises ValueError for one that does not exist."""
    found = [path.parent.name for path in sorted(ROOT.glob(f"suites/{suite}*/suite.yaml"))]
    if len(found) != 1:
        known = sorted(path.parent.name for path in ROOT.glob("suites/*/suite.yaml"))
        raise ValueError(f"no suite {suite!r}; there are {', '.join(known)}")
    return found[0]


def look(suite: str, card: cards.Card | None, seed: int) -> Seen:
    """Run a suite to its verdict. Raises RuntimeError when there is none within LIMIT."""
    manifest = yaml.safe_load((ROOT / "suites" / folder(suite) / "suite.yaml").read_text())
    spec: dict[str, Any] = manifest["spec"]
    spec.pop("run", None)  # a run in place is not scheduled
    if card and "environment" in card.plant:
        environment = [{"name": name, "value": value} for name, value in card.plant["environment"].items()]
        spec["runner"] = {**spec.get("runner", {}), "env": [*spec.get("runner", {}).get("env", []), *environment]}
    name = f"matrix-{suite}-{uuid.uuid4().hex[:6]}"
    metadata = {"name": name, "namespace": NAMESPACE}
    body = {"apiVersion": manifest["apiVersion"], "kind": "TestRun", "metadata": metadata}
    apply({**body, "spec": {"suite": spec, "seed": seed}})
    where = ("-n", NAMESPACE)
    try:
        run("kubectl", *where, "wait", "--for=condition=Finished", f"testruns.proctor.dev/{name}", f"--timeout={LIMIT}")
        status = json.loads(run("kubectl", *where, "get", "testruns.proctor.dev", name, "-o", "json"))["status"]
    finally:
        run("kubectl", *where, "delete", "testruns.proctor.dev", name, "--wait=false")
    failures = [(failure["test"], failure.get("line", "")) for failure in status.get("failures", [])]
    return Seen(status["verdict"], status.get("reason", ""), failures)
