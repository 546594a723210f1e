"""What is known of the cluster: newer wins, what vanished is gone, and claims hold while they must."""

from typing import Any

import pytest

from builders import RUN_UID, a_run, a_spec, a_step, at
from proctor.api import names
from proctor.core import plan as plans
from proctor.core.observed import Claim
from proctor.edge.resources import Refused
from proctor.edge.store import Store
from proctor.edge.workqueue import Key

RUN = Key(names.TEST_RUN, "default", "run")


@pytest.fixture
def changed() -> list[Key]:
    return []


@pytest.fixture
def store(changed: list[Key]) -> Store:
    return Store(changed.append)


def raw_run(version: int = 1, *, spec: Any = None, status: Any = None, **meta: Any) -> dict[str, Any]:
    metadata = {
        "name": "run",
        "namespace": "default",
        "uid": RUN_UID,
        "resourceVersion": str(version),
        "creationTimestamp": "2026-03-02T09:00:00Z",
        "generation": version,
    }
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.TEST_RUN,
        "metadata": {**metadata, **meta},
        "spec": spec or {"suiteRef": {"name": "nightly"}},
        "status": status or {},
    }


def child(uid: str, version: int = 1, *, namespace: str = "default", run: str = RUN_UID, **more: Any) -> dict[str, Any]:
    labels = {
        names.LABEL_RUN_UID: run,
        names.LABEL_STEP: more.pop("step", "one"),
        names.LABEL_ROLE: names.ROLE_STEP,
        names.LABEL_TARGET: "shop",
        "batch.kubernetes.io/job-completion-index": "0",
    }
    return {
        "metadata": {
            "name": uid,
            "uid": uid,
            "namespace": namespace,
            "resourceVersion": str(version),
            "labels": labels,
            "creationTimestamp": "2026-03-02T09:00:00Z",
        },
        "spec": {"completions": 1, "parallelism": 1},
        "status": more,
    }


COMPLETE = [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-03-02T09:09:00Z"}]
FINISHED = {"verdict": "Passed", "finishedAt": "2026-03-02T09:09:00Z"}


def body(store: Store, key: Key = RUN) -> Any:
    entry = store.get(key)
    assert entry is not None
    return entry.body


def test_an_older_version_never_overwrites_a_newer_one(store: Store) -> None:
    store.put(names.TEST_RUN, raw_run(10, status={"reason": "new"}))
    store.put(names.TEST_RUN, raw_run(9, status={"reason": "old"}))
    assert body(store).status.reason == "new"
    store.put_child("jobs", child("j", 10, conditions=COMPLETE))
    store.put_child("jobs", child("j", 9))
    assert [job.complete for job in store.jobs(RUN_UID)] == [True]
    store.put_child("pods", child("p", 100, phase="Succeeded"))
    store.put_child("pods", child("p", 99, phase="Pending"))
    assert [pod.phase for pod in store.pods(RUN_UID)] == ["Succeeded"]


def test_children_wake_their_run_and_runs_their_suite(store: Store, changed: list[Key]) -> None:
    store.put(names.TEST_RUN, raw_run())
    assert changed == [Key(names.TEST_SUITE, "default", "nightly"), RUN]
    changed.clear()
    store.put_child("pods", child("p"))
    store.put_child("pods", child("q", run="stranger"))
    assert changed == [RUN]


def test_a_full_list_drops_what_vanished(store: Store) -> None:
    for uid in ("a", "b"):
        store.put_child("jobs", child(uid, 5))
        store.put_child("pods", child(uid, 5))
    store.replace_children("jobs", [child("b", 6)], None, "7")
    store.replace_children("pods", [child("b", 6)], None, "7")
    assert [job.uid for job in store.jobs(RUN_UID)] == ["b"]
    assert [pod.uid for pod in store.pods(RUN_UID)] == ["b"]


def test_a_full_list_of_one_namespace_says_nothing_of_another(store: Store) -> None:
    store.put_child("jobs", child("here"))
    store.put_child("jobs", child("there", namespace="other"))
    store.replace_children("jobs", [], "other", "9")
    assert [job.uid for job in store.jobs(RUN_UID)] == ["here"]


def test_a_full_list_does_not_drop_what_was_made_after_it(store: Store) -> None:
    store.put_child("jobs", child("just-made", 12))
    store.replace_children("jobs", [], None, "11")
    assert [job.uid for job in store.jobs(RUN_UID)] == ["just-made"]


def test_a_pod_that_a_drain_deleted_still_counts_until_the_verdict(store: Store) -> None:
    store.put(names.TEST_RUN, raw_run())
    store.put_child("pods", child("drained", 2, phase="Running"))
    store.put_child("pods", child("unseen", 2, phase="Running"))
    ended = {"exitCode": 143, "reason": "Error", "message": "what it saw", "finishedAt": "2026-03-02T09:05:00Z"}
    last = child("drained", 3, phase="Failed", containerStatuses=[{"name": "runner", "state": {"terminated": ended}}])
    store.drop_child("pods", last)
    store.replace_children("pods", [], None, "9")
    pods = {pod.uid: pod for pod in store.pods(RUN_UID)}
    assert pods["drained"].runner is not None
    assert pods["drained"].runner.message == "what it saw"
    assert pods["unseen"].disrupted == "Deleted"
    assert pods["unseen"].ended
    store.put(names.TEST_RUN, raw_run(9, status=FINISHED))
    assert store.pods(RUN_UID) == ()


def test_a_deleted_run_takes_its_pods_along(store: Store) -> None:
    store.put(names.TEST_RUN, raw_run())
    store.put_child("pods", child("p"))
    store.drop_child("pods", child("p"))
    store.drop(RUN)
    assert store.pods(RUN_UID) == ()
    assert store.get(RUN) is None
    assert store.live_runs == 0


def test_live_jobs_hold_their_claim_until_their_step_or_run_has_ended(store: Store) -> None:
    store.put(names.TEST_RUN, raw_run())
    store.put_child("jobs", child("j"))
    assert [(claim.run_uid, claim.step, claim.pods) for claim in store.held()] == [(RUN_UID, "one", 1)]
    step = {"name": "one", "state": "Finished", "verdict": "Passed"}
    store.put(names.TEST_RUN, raw_run(2, status={"steps": [step]}))
    assert store.held() == ()


def test_a_complete_or_vanished_job_holds_nothing(store: Store) -> None:
    store.put_child("jobs", child("j", 1))
    store.put_child("jobs", child("j", 2, conditions=COMPLETE))
    store.put_child("jobs", child("k", 1))
    store.drop_child("jobs", child("k", 1))
    assert store.held() == ()


def test_a_reserved_claim_is_held_before_its_job_is_seen(store: Store) -> None:
    claim = Claim("other", "one", "shop", True, 2, at(0))
    store.reserved["other", "one"] = claim
    assert store.held() == (claim,)
    store.put_child("jobs", child("j", run="other"))
    assert len(store.held()) == 1, "reservation and Job are one claim"


def test_steps_that_wait_for_their_turn_are_awaited_and_woken(store: Store, changed: list[Key]) -> None:
    suite = a_spec(a_step(exclusive=True))
    waits = {"name": "one", "state": "Waiting", "reason": names.WAITING_FOR_TARGET, "exclusive": True, "pods": 1}
    store.put(names.TEST_RUN, raw_run(spec={"suite": suite}, status={"steps": [waits]}))
    assert store.awaited() == (), "unknown until its plan is"
    store.plans[RUN_UID] = plans.make(a_run({"suite": suite}), None, at(0).date())
    assert [(claim.run_uid, claim.exclusive, claim.since) for claim in store.awaited()] == [(RUN_UID, True, at(0))]
    changed.clear()
    store.put_child("jobs", child("j", 1, run="other"))
    store.put_child("jobs", child("j", 2, run="other", conditions=COMPLETE))
    assert changed == [RUN]
    store.put(names.TEST_RUN, raw_run(2, spec={"suite": suite}, status={"steps": [{**waits, "reason": "Suspended"}]}))
    assert store.awaited() == ()


def test_a_suite_that_comes_wakes_the_runs_that_wait_for_it(store: Store, changed: list[Key]) -> None:
    store.put(names.TEST_RUN, raw_run())
    changed.clear()
    store.put(names.TEST_SUITE, {**raw_run(2, spec=a_spec(), name="nightly", uid="s"), "kind": names.TEST_SUITE})
    assert RUN in changed
    assert [run.metadata.name for run in store.runs_of(Key(names.TEST_SUITE, "default", "nightly"))] == ["run"]


@pytest.mark.parametrize(
    ("kind", "spec", "reason"),
    [
        (names.TEST_RUN, {}, names.INVALID_SPEC),
        (names.TEST_SUITE, {"target": {"name": "x"}, "steps": []}, names.INVALID_SPEC),
        (names.CHAOS_EXPERIMENT, {}, names.INVALID_SPEC),
        (names.PERF_GATE, {}, names.NOT_SUPPORTED),
    ],
)
def test_what_cannot_be_acted_on_is_kept_with_its_reason(
    store: Store, kind: str, spec: dict[str, Any], reason: str
) -> None:
    store.put(kind, {**raw_run(), "kind": kind, "spec": spec})
    refused = body(store, Key(kind, "default", "run"))
    assert isinstance(refused, Refused)
    assert refused.reason == reason
