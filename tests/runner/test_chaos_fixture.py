"""The fixture `chaos`: what it asks of the API server, and what a test's outcome is by what the server says."""

from collections.abc import Iterator, Sequence

import pytest

from proctor.api.chaos import ChaosExperiment
from runner.conftest import UID, Pod, Ran
from runner.kube_api import Api, Object, api

PATH = "/apis/proctor.dev/v1alpha1/namespaces/shop/chaosexperiments"
KILL = """
        def test_kill(chaos):
            status = chaos.inject("ProcessKill", selector={"app": "worker"}).finish(20)
            assert status["verdict"] == "Passed"
        """


def condition(kind: str, status: str = "True", reason: str = "Seen", message: str = "was seen") -> Object:
    changed = {"lastTransitionTime": "2026-01-01T00:00:00Z"}
    return {"type": kind, "status": status, "reason": reason, "message": message, **changed}


def going(*kinds: str) -> Object:
    return {"conditions": [condition(kind) for kind in kinds]}


def ended(verdict: str, *kinds: str, reason: str = "Why", message: str = "for a reason") -> Object:
    return {**going(*kinds), "verdict": verdict, "reason": reason, "message": message}


ALL = ("Accepted", "Injected", "Effective", "Healed", "Recovered")


class Course:
    """An operator that goes on by one status with each reading, and to others once the experiment is aborted."""

    def __init__(self, *statuses: Object, aborted: Sequence[Object] = ()) -> None:
        self.statuses, self.aborted, self.aborts = list(statuses), list(aborted), 0

    def __call__(self, experiment: Object, reading: int) -> Object:
        if experiment["spec"].get("abort"):
            self.aborts += 1
            return self.aborted[min(self.aborts, len(self.aborted)) - 1]
        return self.statuses[min(reading, len(self.statuses)) - 1]


@pytest.fixture
def server(pod: Pod) -> Iterator[Api]:
    with api(pod.root, Course({})) as served:
        pod.env |= {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(served.port)}
        yield served


def run(pod: Pod, test: str) -> Ran:
    pod.write(test_a=test)
    return pod.run()


def reason(ran: Ran) -> str:
    (attempt,) = ran.of_kind("attempt")
    return str(attempt["reason"])


def test_fault_is_asked_for_and_waited_for(pod: Pod, server: Api) -> None:
    server.operator = Course({}, going("Accepted"), going("Accepted", "Injected", "Effective"), ended("Passed", *ALL))
    ran = run(pod, KILL)
    assert ran.counts == {"passed": 1}, ran.stderr
    assert ran.summary.evidence == {"faults": 1}
    ((path, made),) = server.objects.items()
    assert path.startswith(f"{PATH}/run-1-processkill-")
    experiment = ChaosExperiment.model_validate(made)
    assert (experiment.spec.fault, experiment.spec.mode, experiment.spec.duration) == ("ProcessKill", "One", "10s")
    assert experiment.spec.selector is not None
    assert experiment.spec.selector.match_labels == {"app": "worker"}
    assert made["metadata"]["labels"] == {"proctor.dev/run-uid": UID, "proctor.dev/run": "run-1"}
    (owner,) = made["metadata"]["ownerReferences"]
    assert owner == {"apiVersion": "proctor.dev/v1alpha1", "kind": "TestRun", "name": "run-1", "uid": UID}
    assert [method for method, _ in server.requests] == ["POST", "GET", "GET", "GET", "GET"]


def test_long_name_of_a_run_is_cut_to_a_label(pod: Pod, server: Api) -> None:
    server.operator = Course(ended("Passed", *ALL))
    pod.run_name = f"{'n' * 62}.{'m' * 30}"
    assert run(pod, KILL).counts == {"passed": 1}
    (made,) = server.objects.values()
    assert made["metadata"]["labels"]["proctor.dev/run"] == "n" * 62
    assert made["metadata"]["ownerReferences"][0]["name"] == pod.run_name


def test_every_argument_is_a_field(pod: Pod, server: Api) -> None:
    server.operator = Course(ended("Passed", *ALL))
    pod.env["PROCTOR_TARGET_NAMESPACE"] = "bazaar"
    ran = run(
        pod,
        """
        def test_cut(chaos):
            chaos.inject(
                "NetworkCut", target=("StatefulSet", "nats"), port=4222, duration="1m30s", mode="Fixed", value=2,
                seed=5,
                limits={"maxPercent": 100, "maxCount": 3}, probes=[{"name": "up", "tcp": {"address": "nats:4222"}}],
            ).finish()
        """,
    )
    assert ran.counts == {"passed": 1}, ran.stderr
    ((path, made),) = server.objects.items()
    assert "/namespaces/bazaar/" in path
    assert made["metadata"]["namespace"] == "bazaar"
    assert "ownerReferences" not in made["metadata"], "an owner of another namespace would have it collected at once"
    spec = ChaosExperiment.model_validate(made).spec
    assert spec.target_ref is not None
    assert (spec.target_ref.kind, spec.target_ref.name, spec.port, spec.duration) == (
        "StatefulSet",
        "nats",
        4222,
        "1m30s",
    )
    assert (spec.mode, spec.value, spec.seed, spec.limits.max_percent) == ("Fixed", 2, 5, 100)
    assert spec.steady_state is not None
    assert spec.steady_state.probes[0].tcp is not None


def test_names_and_seeds_belong_to_one_attempt(pod: Pod, server: Api) -> None:
    server.operator = Course(ended("Passed", *ALL))
    pod.step["retry"] = {"attempts": 2, "backoffSeconds": 0, "factor": 2, "maxBackoffSeconds": 1}
    ran = run(
        pod,
        """
        def test_twice(chaos):
            for _ in range(2):
                chaos.inject("PodKill", selector={"app": "worker"}).finish()
            assert False
        """,
    )
    assert ran.counts == {"failed": 1}
    assert len(server.objects) == 4
    assert len({made["spec"]["seed"] for made in server.objects.values()}) == 4
    server.objects.clear()
    pod.env["PROCTOR_POD_UID"] = "the pod that comes after one that died"
    pod.run()
    assert len(server.objects) == 4


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (ended("Inconclusive", "Accepted", reason="NotEffective", message="no loss"), "NotEffective): no loss"),
        (
            {"conditions": [condition("Accepted", "False")], "verdict": "Error", "reason": "No", "message": "no label"},
            "Error (No): no label",
        ),
        (ended("Error", "Accepted", reason="ObserverFailed", message="no image"), "Error (ObserverFailed): no image"),
        (ended("Passed", "Accepted", "Injected", "Healed"), "Passed (Why)"),
    ],
    ids=["no effect", "refused", "no observer", "passed without effect"],
)
@pytest.mark.parametrize("asks", ["finish(20)", "wait('Injected', 20) and None", "wait('Effective', 20)"])
def test_what_proves_nothing_is_inconclusive(pod: Pod, server: Api, status: Object, says: str, asks: str) -> None:
    server.operator = Course({}, status)
    ran = run(
        pod,
        f"""
        def test_kill(chaos):
            chaos.inject("ProcessKill", selector={{"app": "worker"}}).{asks}
        """,
    )
    assert ran.counts == {"skipped": 1}, ran.stderr
    assert reason(ran).startswith("inconclusive: run-1-processkill-")
    assert says in reason(ran)
    assert ran.summary.evidence == {}


def test_not_in_time_is_inconclusive_and_aborted(pod: Pod, server: Api) -> None:
    server.operator = Course(
        going("Accepted"), aborted=[going("Accepted"), ended("Inconclusive", "Accepted", "Healed")]
    )
    ran = run(
        pod,
        """
        def test_kill(chaos):
            chaos.inject("ProcessKill", selector={"app": "worker"}).wait("Injected", 1)
        """,
    )
    assert ran.counts == {"skipped": 1}, ran.stderr
    assert "has not got to Injected in 1 s" in reason(ran)
    (made,) = server.objects.values()
    assert made["spec"]["abort"] is True


def test_test_that_does_not_ask_is_not_passed_by_a_fault_without_effect(pod: Pod, server: Api) -> None:
    server.operator = Course(ended("Inconclusive", "Accepted", "Healed", reason="NotEffective", message="no loss"))
    ran = run(
        pod,
        """
        def test_kill(chaos):
            chaos.inject("ProcessKill", selector={"app": "worker"})
        """,
    )
    assert ran.counts == {"skipped": 1}, ran.stderr
    assert "NotEffective" in reason(ran)


def test_what_is_left_is_aborted_and_waited_for(pod: Pod, server: Api) -> None:
    live = going("Accepted", "Injected")
    server.operator = Course(live, aborted=[live, live, going("Accepted", "Injected", "Healed")])
    ran = run(
        pod,
        """
        def test_pause(chaos):
            for _ in range(2):
                chaos.inject("Pause", selector={"app": "worker"}, duration="600s").wait("Injected")
            assert False, "stock-conserved: 1 is missing"
        """,
    )
    assert ran.counts == {"failed": 1}, ran.stderr
    assert reason(ran) == "stock-conserved: 1 is missing"
    assert [made["spec"]["abort"] for made in server.objects.values()] == [True, True]
    assert server.requests[-1][0] == "GET"
    assert ran.summary.evidence == {}


def test_aborted_fault_proves_nothing(pod: Pod, server: Api) -> None:
    live = going("Accepted", "Injected")
    aborted = ended("Error", "Accepted", "Injected", "Healed", reason="Aborted", message="aborted; it was healed")
    server.operator = Course(live, aborted=[live, aborted])
    ran = run(
        pod,
        """
        def test_pause(chaos):
            chaos.inject("Pause", selector={"app": "worker"}, duration="600s").wait("Injected")
        """,
    )
    assert ran.counts == {"skipped": 1}, ran.stderr
    assert "Error (Aborted): aborted; it was healed" in reason(ran)


@pytest.mark.parametrize("verdict", [{}, {"verdict": "Error", "reason": "NotHealed", "message": "it is still cut"}])
def test_what_is_not_healed_is_an_error(pod: Pod, server: Api, verdict: Object) -> None:
    live = going("Accepted", "Injected")
    stuck = [*live["conditions"], condition("Healed", "False", "NotHealed")] if verdict else live["conditions"]
    server.operator = Course(live, aborted=[live | verdict | {"conditions": stuck}])
    (pod.suites / "conftest.py").write_text(
        "import proctor.runner.chaos_fixture as fixture\nfixture._HEAL_SECONDS = 1.0\n", encoding="utf-8"
    )
    ran = run(
        pod,
        """
        def test_pause(chaos):
            chaos.inject("Pause", selector={"app": "worker"}).wait("Injected")
        """,
    )
    assert ran.counts == {"error": 1}, ran.stderr
    assert ("it is still cut" if verdict else "was aborted and is not healed") in reason(ran)


def test_revert_that_failed_is_no_verdict_of_the_target(pod: Pod, server: Api) -> None:
    status = ended("Error", "Accepted", "Injected", reason="NotHealed", message="it is still cut")
    server.operator = Course(status | {"conditions": [*status["conditions"], condition("Healed", "False")]})
    ran = run(pod, KILL)
    assert ran.counts == {"failed": 1}
    assert reason(ran).startswith("RuntimeError: run-1-processkill-")
    assert "is not healed: Error (NotHealed): it is still cut" in reason(ran)


@pytest.mark.parametrize("effective", [True, False])
def test_target_that_did_not_recover_is_for_the_test_to_judge(pod: Pod, server: Api, effective: bool) -> None:
    seen = ("Effective",) if effective else ()
    server.operator = Course(ended("Failed", "Accepted", "Injected", "Healed", *seen, reason="NotRecovered"))
    ran = run(
        pod,
        """
        def test_kill(chaos):
            made = chaos.inject("ProcessKill", selector={"app": "worker"})
            assert made.finish()["verdict"] == "Failed"
            made.wait("Recovered")
        """,
    )
    assert ran.counts == {"failed": 1}
    assert "ended without Recovered: Failed (NotRecovered)" in reason(ran)
    assert ran.summary.evidence == ({"faults": 1} if effective else {})


@pytest.mark.parametrize(
    ("refuse", "counts", "says"),
    [
        ({"POST": [(403, "Forbidden")]}, {"skipped": 1}, "was refused: Forbidden: no POST today"),
        ({"POST": [(404, "NotFound")]}, {"skipped": 1}, "was refused: NotFound"),
        ({"POST": [(422, "Invalid")]}, {"failed": 1}, "Invalid: no POST today"),
        ({"POST": [(503, "ServiceUnavailable")] * 3}, {"passed": 1}, "None"),
        ({"POST": [(504, "LostAnswer")]}, {"passed": 1}, "None"),
        ({"GET": [(500, "InternalError")] * 3}, {"passed": 1}, "None"),
        ({"GET": [(403, "Forbidden")]}, {"failed": 1}, "Forbidden: no GET today"),
    ],
)
def test_the_api_server_has_its_troubles(
    pod: Pod, server: Api, refuse: dict[str, list[tuple[int, str]]], counts: dict[str, int], says: str
) -> None:
    server.operator = Course(ended("Passed", *ALL), aborted=[ended("Passed", *ALL)])
    server.refuse = refuse
    ran = run(pod, KILL)
    assert ran.counts == counts, ran.stderr
    assert says in reason(ran)
    assert len(server.objects) == (1 if "POST" not in refuse or counts == {"passed": 1} else 0)


def test_pod_without_a_credential_is_an_error_that_says_what_to_do(pod: Pod) -> None:
    ran = run(pod, KILL)
    assert ran.counts == {"error": 1}
    assert "give the step a serviceAccountName" in reason(ran)


def test_wrong_authority_is_not_trusted(pod: Pod, server: Api) -> None:
    with api(pod.root / "other", Course({})):
        other = pod.root / "other/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
        (pod.root / "var/run/secrets/kubernetes.io/serviceaccount/ca.crt").write_bytes(other.read_bytes())
    ran = run(pod, KILL)
    assert ran.counts == {"failed": 1}
    assert "CERTIFICATE_VERIFY_FAILED" in reason(ran)
