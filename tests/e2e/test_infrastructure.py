"""Invariant 11: a suite that cannot run ends with the reason within its limits. Nothing hangs."""

from pathlib import Path

import pytest
import yaml

from e2e.world import World, counts, named, one_step
from proctor.edge.client import Json

pytestmark = pytest.mark.e2e

PASSING = {"test_a.py": "def test_a(): pass"}


def condition(status: Json, kind: str) -> Json:
    found: Json = next(c for c in status["conditions"] if c["type"] == kind)
    return found


async def test_invariant_11_bad_image(world: World) -> None:
    await world.files("case", PASSING)
    suite = one_step("case", runner={"image": "localhost/does-not-exist:1"}, step={"startTimeout": "25s"})
    await world.apply_run("case", {"suite": suite})
    waiting = await world.until("case", lambda s: any(c["reason"] == "ImagePullError" for c in s.get("conditions", [])))
    assert condition(waiting, "Started")["status"] == "False"
    assert "verdict" not in waiting, "until startTimeout the step waits"
    status = await world.verdict("case")
    assert (status["verdict"], status["reason"]) == ("Error", "ImagePullError")
    assert "localhost/does-not-exist:1" in status["message"]


async def test_invariant_11_unschedulable(world: World) -> None:
    status = await world.run("case", PASSING, runner={"nodeSelector": {"no": "such-node"}}, step={"startTimeout": "5s"})
    assert (status["verdict"], status["reason"]) == ("Error", "Unschedulable")


async def test_invariant_11_quota(world: World) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"pods": "0"}},
    }
    await world.client.create("resourcequotas", world.namespace, quota)
    status = await world.run("case", PASSING, step={"startTimeout": "8s"})
    assert (status["verdict"], status["reason"]) == ("Error", "QuotaExceeded")
    assert "exceeded quota" in status["message"]


async def test_a_quota_that_is_raised_in_time_lets_the_run_pass(world: World) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "jobs"},
        "spec": {"hard": {"count/jobs.batch": "0"}},
    }
    await world.client.create("resourcequotas", world.namespace, quota)
    await world.files("case", PASSING)
    await world.apply_run("case", {"suite": one_step("case")})
    await world.until("case", lambda s: any(c["type"] == "Started" for c in s.get("conditions", [])))
    made = await world.client.get("resourcequotas", world.namespace, "jobs")
    await world.client.delete("resourcequotas", world.namespace, "jobs", made["metadata"]["uid"])
    assert (await world.verdict("case"))["verdict"] == "Passed"


async def test_invariant_11_pods_that_the_namespace_forbids(world: World) -> None:
    limits = named("v1", "LimitRange", "tiny") | {"spec": {"limits": [{"type": "Container", "max": {"memory": "9Mi"}}]}}
    await world.client.create("limitranges", world.namespace, limits)
    status = await world.run("case", PASSING, step={"startTimeout": "8s"})
    assert (status["verdict"], status["reason"]) == ("Error", "JobRefused")
    assert "memory" in status["message"]


async def test_invariant_11_a_missing_config_map(world: World) -> None:
    await world.apply_run("case", {"suite": one_step("not-there", step={"startTimeout": "8s"})})
    status = await world.verdict("case")
    assert (status["verdict"], status["reason"]) == ("Error", "StartTimeout")


async def test_invariant_11_a_missing_secret(world: World) -> None:
    await world.files("case", PASSING)
    suite = one_step("case", target={"name": "t", "secretRef": {"name": "not-there"}}, step={"startTimeout": "25s"})
    await world.apply_run("case", {"suite": suite})
    status = await world.verdict("case")
    assert (status["verdict"], status["reason"]) == ("Error", "PodConfigError")
    assert "not-there" in status["message"]


async def test_a_user_image_without_pytest(world: World) -> None:
    """bazaar's image has Python and no pytest."""
    images = yaml.safe_load((Path(__file__).parents[2] / "build" / "images.yaml").read_text())["images"]
    status = await world.run("case", PASSING, runner={"image": images["bazaar"]})
    assert (status["verdict"], status["reason"]) == ("Error", "RunnerIncompatible")
    assert "pytest" in status["message"]


async def test_invariant_11_a_pod_deleted_by_hand_is_no_pass(world: World) -> None:
    await world.files("case", {"test_a.py": "import time\ndef test_a(): time.sleep(30)"})
    await world.apply_run("case", {"suite": one_step("case")})
    await world.until("case", lambda s: s.get("steps", [{}])[0].get("shards", [{}])[0].get("state") == "Running")
    (pod,) = await world.pods()
    await world.client.delete("pods", world.namespace, pod["metadata"]["name"], pod["metadata"]["uid"])
    status = await world.verdict("case")
    assert status["verdict"] == "Error"
    assert status["reason"] in ("Evicted", "RunnerCrashed", "IncompleteReport", "NodeLost")
    assert status["counts"] == counts(error=status["counts"]["error"])


async def test_invariant_11_job_vanished(world: World) -> None:
    await world.files("case", {"test_a.py": "import time\ndef test_a(): time.sleep(60)"})
    await world.apply_run("case", {"suite": one_step("case")})
    await world.until("case", lambda s: "job" in s.get("steps", [{}])[0])
    (job,) = await world.jobs()
    await world.client.delete("jobs", world.namespace, job["metadata"]["name"], job["metadata"]["uid"])
    status = await world.verdict("case")
    assert (status["verdict"], status["reason"]) == ("Error", "JobVanished")
