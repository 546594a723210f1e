"""The full profile of T7 in the cluster: 20 schedules of 500 tasks in which every role is killed, and 200 replays.

Each part is a run of its own and is kept in build/t07-full.json when it has passed or failed, so a campaign that was
interrupted goes on where it was; --again forgets it. Exits 1 unless every part has passed. `make t07-full`.
"""

import argparse
import json
import sys
import time
import uuid
from typing import Any

import yaml

from matrix.planting import NAMESPACE, ROOT, apply, run

STATE = ROOT / "build" / "t07-full.json"
SCHEDULES, REPLAYS = 20, 10
ROUNDS, ROUND = 5, "8m"
"""A part may take so many rounds of so long; one command may take ten minutes."""
SCHEDULE = "t07_chaos/faults/test_schedules.py::test_orchestrator_dies_in_the_middle_of_a_step"
REPLAY = "t07_chaos/test_replay.py::test_exact_replay_is_identical"


def parts() -> dict[str, dict[str, Any]]:
    """What each part's step has another way than the suite's own, by its name."""
    killed = {"tasks": 500, "kills": 8, "faults": 8, "redeliveries": 1}
    schedules = {
        f"schedule-{number}": {"step": "chaos", "path": f"{SCHEDULE}[{number}]", "timeout": "30m", "evidence": killed}
        for number in range(1, SCHEDULES + 1)
    }
    replays = {
        f"replay-{number}": {"step": "replay", "path": REPLAY, "args": [], "shards": 1, "evidence": {"replays": 20}}
        for number in range(1, REPLAYS + 1)
    }
    return schedules | replays


def testrun(name: str, part: dict[str, Any], seed: int) -> dict[str, Any]:
    """The TestRun of a part: one step of the suite, in the full profile."""
    suite = yaml.safe_load((ROOT / "suites/t07_chaos/suite.yaml").read_text(encoding="utf-8"))
    changed = {key: value for key, value in part.items() if key != "step"}
    (step,) = (one for one in suite["spec"]["steps"] if one["name"] == part["step"])
    runner = {"env": [{"name": "PROFILE", "value": "full"}]}
    spec = {"suite": {"target": suite["spec"]["target"], "runner": runner, "steps": [step | changed]}, "seed": seed}
    metadata = {"name": f"t07-{name}-{uuid.uuid4().hex[:6]}", "namespace": NAMESPACE}
    return {"apiVersion": suite["apiVersion"], "kind": "TestRun", "metadata": metadata, "spec": spec}


def look(manifest: dict[str, Any]) -> dict[str, Any]:
    """Run a part to its verdict. Raises RuntimeError when there is none within ROUNDS of ROUND."""
    name, where = manifest["metadata"]["name"], ("-n", NAMESPACE)
    apply(manifest)
    try:
        for _ in range(ROUNDS):
            status = _status(name)
            if status.get("verdict"):
                return status
    finally:
        run("kubectl", *where, "delete", "testruns.proctor.dev", name, "--wait=false")
    raise RuntimeError(f"{name} has no verdict within {ROUNDS} x {ROUND}")


def _status(name: str) -> dict[str, Any]:
    where = ("-n", NAMESPACE)
    try:
        run("kubectl", *where, "wait", "--for=condition=Finished", f"testruns.proctor.dev/{name}", f"--timeout={ROUND}")
    except RuntimeError as error:
        if "timed out" not in str(error):
            raise
    found: dict[str, Any] = json.loads(run("kubectl", *where, "get", "testruns.proctor.dev", name, "-o", "json"))
    status: dict[str, Any] = found.get("status", {})
    return status


def main() -> int:
    """Run the parts that have no result yet, and print all."""
    parser = argparse.ArgumentParser(prog="t07-full", description=__doc__)
    parser.add_argument("--again", action="store_true", help="forget what an earlier campaign found")
    parser.add_argument("--only", help="this part alone, such as schedule-3")
    options = parser.parse_args()
    known = {} if options.again or not STATE.exists() else json.loads(STATE.read_text(encoding="utf-8"))
    plan = [name for name in parts() if options.only in (None, name)]
    for seed, (name, part) in enumerate(parts().items(), 1):
        if name in known or name not in plan:
            continue
        began = time.monotonic()
        status = look(testrun(name, part, seed))
        failures = [f"{one['test']}: {one.get('line', '')}" for one in status.get("failures", [])]
        known[name] = {"verdict": status["verdict"], "reason": status.get("reason", ""), "failures": failures}
        known[name]["seconds"] = round(time.monotonic() - began)
        STATE.parent.mkdir(exist_ok=True)
        STATE.write_text(json.dumps(known, indent=1), encoding="utf-8")
        print(f"{name}: {known[name]}", flush=True)
    passed = sum(known[name]["verdict"] == "Passed" for name in plan)
    print(f"{passed} of {len(plan)} parts passed")
    return 0 if passed == len(plan) else 1


if __name__ == "__main__":
    sys.exit(main())
