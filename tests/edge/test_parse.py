"""From the API server's JSON to the facts of a decision, with pods as a real cluster shows them."""

from typing import Any

import pytest

from proctor.api import names
from proctor.core import trouble
from proctor.edge import parse

LABELS = {
    names.LABEL_RUN_UID: "r",
    names.LABEL_STEP: "unit",
    names.LABEL_ROLE: names.ROLE_STEP,
    "batch.kubernetes.io/job-completion-index": "2",
}


def raw_pod(status: dict[str, Any], **meta: Any) -> dict[str, Any]:
    metadata = {
        "name": "p",
        "uid": "u",
        "namespace": "ns",
        "labels": LABELS,
        "creationTimestamp": "2026-03-02T09:00:00Z",
    }
    return {"metadata": {**metadata, **meta}, "status": status}


def terminated(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    ended = {"exitCode": code, "reason": reason, "message": message, "finishedAt": "2026-03-02T09:05:00Z"}
    return {"name": "runner", "state": {"terminated": ended}}


def waiting(reason: str, name: str = "runner") -> dict[str, Any]:
    return {"name": name, "state": {"waiting": {"reason": reason, "message": f"{reason} here"}}}


RUNNING = {"name": "runner", "state": {"running": {"startedAt": "2026-03-02T09:00:10Z"}}}
PREPARED = {"name": "prepare", "state": {"terminated": {"exitCode": 0, "finishedAt": "2026-03-02T09:00:05Z"}}}
DISRUPTED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "EvictionByEvictionAPI",
    "message": "Eviction API: evicting",
    "lastTransitionTime": "2026-03-02T09:04:00Z",
}
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}


def test_a_pod_is_told_by_its_labels() -> None:
    pod = parse.pod(raw_pod({"phase": "Running", "containerStatuses": [RUNNING], "initContainerStatuses": [PREPARED]}))
    assert (pod.run_uid, pod.step, pod.role, pod.index, pod.phase) == ("r", "unit", "step", 2, "Running")
    assert (pod.started, pod.ended, pod.runner, pod.prepare, pod.ended_at) == (True, False, None, None, None)
    assert pod.namespace == "ns"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"phase": "Pending"}, None),
        (
            {
                "containerStatuses": [waiting("PodInitializing")],
                "initContainerStatuses": [waiting("ContainerCreating")],
            },
            None,
        ),
        ({"containerStatuses": [waiting("ErrImagePull")]}, names.IMAGE_PULL_ERROR),
        ({"containerStatuses": [waiting("ImagePullBackOff")]}, names.IMAGE_PULL_ERROR),
        (
            {
                "containerStatuses": [waiting("PodInitializing")],
                "initContainerStatuses": [waiting("ErrImagePull", "prepare")],
            },
            names.IMAGE_PULL_ERROR,
        ),
        ({"containerStatuses": [waiting("CreateContainerConfigError")]}, names.POD_CONFIG_ERROR),
        ({"conditions": [UNSCHEDULABLE]}, names.UNSCHEDULABLE),
        ({"conditions": [{**UNSCHEDULABLE, "status": "True", "reason": ""}]}, None),
    ],
)
def test_what_keeps_a_pod_from_starting(status: dict[str, Any], reason: str | None) -> None:
    pod = parse.pod(raw_pod({"phase": "Pending", **status}))
    found = trouble.starting(pod)
    assert (found.reason if found else None) == reason
    assert not pod.started
    assert not pod.ended


@pytest.mark.parametrize(
    ("status", "reason", "lost"),
    [
        ({"containerStatuses": [terminated(137, "OOMKilled")]}, names.OOM_KILLED, False),
        ({"phase": "Succeeded", "containerStatuses": [terminated(0, "OOMKilled")]}, names.OOM_KILLED, False),
        ({"containerStatuses": [terminated(1)]}, names.RUNNER_CRASHED, False),
        ({"containerStatuses": [terminated(128, "StartError")]}, names.RUNNER_INCOMPATIBLE, False),
        ({"phase": "Succeeded", "containerStatuses": [terminated(0, "Completed")]}, names.INCOMPLETE_REPORT, False),
        ({"reason": "DeadlineExceeded", "message": "too long"}, names.DEADLINE_EXCEEDED, False),
        (
            {
                "reason": "Evicted",
                "message": "low on memory",
                "conditions": [{**DISRUPTED, "reason": "TerminationByKubelet"}],
            },
            names.RUNNER_CRASHED,
            True,
        ),
        ({"conditions": [DISRUPTED], "containerStatuses": [terminated(143)]}, names.RUNNER_CRASHED, True),
        (
            {"phase": "Succeeded", "conditions": [DISRUPTED], "containerStatuses": [terminated(0)]},
            names.INCOMPLETE_REPORT,
            False,
        ),
        (
            {"conditions": [{**DISRUPTED, "status": "False"}], "containerStatuses": [terminated(143)]},
            names.RUNNER_CRASHED,
            False,
        ),
        ({"reason": "NodeLost"}, names.RUNNER_CRASHED, True),
        (
            {
                "initContainerStatuses": [{**terminated(3), "name": "prepare"}],
                "containerStatuses": [waiting("PodInitializing")],
            },
            names.SOURCE_UNAVAILABLE,
            False,
        ),
    ],
)
def test_why_a_pod_ended(status: dict[str, Any], reason: str, lost: bool) -> None:
    pod = parse.pod(raw_pod({"phase": "Failed", **status}))
    assert pod.ended
    assert (trouble.disrupted(pod) is not None) is lost
    _, found = trouble.ended(pod)
    assert found is not None
    assert found.reason == reason


def test_a_termination_message_and_the_time_of_the_end_come_through() -> None:
    pod = parse.pod(
        raw_pod(
            {
                "phase": "Succeeded",
                "containerStatuses": [terminated(0, "Completed", "line")],
                "initContainerStatuses": [PREPARED],
            }
        )
    )
    assert pod.runner is not None
    assert (pod.runner.exit_code, pod.runner.message) == (0, "line")
    assert pod.ended_at == parse.time_of("2026-03-02T09:05:00Z")


def test_a_disrupted_pod_that_still_runs_is_lost_since_then() -> None:
    pod = parse.pod(raw_pod({"phase": "Running", "conditions": [DISRUPTED], "containerStatuses": [RUNNING]}))
    assert (pod.ended, pod.disrupted) == (False, "EvictionByEvictionAPI")
    assert pod.ended_at == parse.time_of("2026-03-02T09:04:00Z")


def raw_job(*conditions: dict[str, Any], **labels: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "j",
            "uid": "u",
            "namespace": "ns",
            "creationTimestamp": "2026-03-02T09:00:00Z",
            "labels": {**LABELS, **labels},
        },
        "spec": {"completions": 3, "parallelism": 2},
        "status": {
            "conditions": [{"status": "True", "lastTransitionTime": "2026-03-02T09:09:00Z", **c} for c in conditions]
        },
    }


@pytest.mark.parametrize(
    ("conditions", "complete", "failed", "live"),
    [
        ([], False, None, True),
        ([{"type": "Suspended"}], False, None, True),
        ([{"type": "Complete"}], True, None, False),
        ([{"type": "SuccessCriteriaMet"}], True, None, False),
        ([{"type": "FailureTarget", "reason": "DeadlineExceeded"}], False, "DeadlineExceeded", False),
        ([{"type": "Failed", "reason": "FailedIndexes"}], False, "FailedIndexes", False),
        ([{"type": "Failed", "status": "False"}], False, None, True),
    ],
)
def test_jobs(conditions: list[dict[str, Any]], complete: bool, failed: str | None, live: bool) -> None:
    job = parse.job(raw_job(*conditions, **{names.LABEL_EXCLUSIVE: "true"}))
    assert (job.complete, job.failed, job.live) == (complete, failed, live)
    assert (job.shards, job.pods, job.exclusive) == (3, 2, True)
    assert (job.finished_at is not None) is not live


def raw_workload(wanted: int = 2, **status: int) -> dict[str, Any]:
    return {
        "metadata": {"name": "gw", "generation": 3},
        "spec": {"replicas": wanted, "template": {"spec": {"containers": [{"image": "a"}]}}},
        "status": {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, **status},
    }


def serving(image: str = "sha256:a", **meta: Any) -> dict[str, Any]:
    return raw_pod({"phase": "Running", "containerStatuses": [{"imageID": image}]}, **meta)


@pytest.mark.parametrize(
    ("raw", "pods", "settled"),
    [
        (raw_workload(), [serving(), serving()], True),
        (raw_workload(observedGeneration=2), [serving(), serving()], False),
        (raw_workload(updatedReplicas=1), [serving(), serving()], False),
        (raw_workload(availableReplicas=1), [serving(), serving()], False),
        (raw_workload(replicas=3), [serving(), serving(), serving()], False),
        (raw_workload(), [serving(), serving(), serving(deletionTimestamp="x")], True),
        (raw_workload(), [serving(), serving(), raw_pod({"phase": "Failed", "reason": "Evicted"})], True),
    ],
)
def test_a_workload_is_settled_after_its_rollout(raw: dict[str, Any], pods: list[Any], settled: bool) -> None:
    assert parse.workload("Deployment", raw, pods).settled is settled


def test_a_workload_is_told_by_digests() -> None:
    found = parse.workload("Deployment", raw_workload(), [serving("sha256:b"), serving("sha256:a")])
    assert found.images == ("sha256:a", "sha256:b")
    other = raw_workload()
    other["spec"]["template"]["spec"]["containers"][0]["image"] = "b"
    assert parse.workload("Deployment", other, []).template != found.template
