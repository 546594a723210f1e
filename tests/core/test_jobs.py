"""Manifests of children: names, limits, Pod Security, what reaches the runner; the plan that they carry."""

import json
import re
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import COMMIT, RUNNER_IMAGE, a_run, a_spec, a_step, a_suite
from proctor.api import names
from proctor.api.scalars import Mode, seconds
from proctor.core import jobs
from proctor.core import plan as plans
from proctor.core.errors import InvalidSpec
from proctor.core.plan import Plan

TODAY = date(2026, 3, 2)
FULL = a_spec(
    a_step(
        "unit",
        shards=3,
        exclusive=True,
        path="tests/unit",
        args=["-k", "not slow"],
        timeout="7m",
        retry={"attempts": 3, "backoff": "2s"},
        evidence={"tenants": 5, "requests": 200},
        source={"git": {"url": "https://git.example/r.git", "ref": "main", "path": "sub", "secretRef": {"name": "g"}}},
    ),
    a_step("files", source={"configMapRef": {"name": "files"}}, after=["unit"]),
    a_step("image"),
    target={
        "name": "shop",
        "namespace": "prod",
        "endpoints": [{"name": "api-gw", "url": "http://gw:80"}],
        "secretRef": {"name": "keys"},
    },
    runner={
        "image": "user/image:1",
        "env": [{"name": "TEST_MODE", "value": "LIVE_SMOKE"}],
        "envFrom": [{"secretRef": {"name": "more"}}],
        "podTemplate": {
            "labels": {"team": "a"},
            "volumes": [{"name": "cache", "emptyDir": {}}],
            "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
        },
    },
    quarantine=[
        {"test": "t::old", "reason": "x", "owner": "me", "expires": "2026-03-01"},
        {"test": "t::today", "reason": "x", "owner": "me", "expires": "2026-03-02"},
    ],
    parallelism=2,
)


def plan_of(spec: Any = FULL, **run: Any) -> tuple[Any, Plan]:
    made = a_run({"suite": spec, **run})
    return made, plans.make(made, None, TODAY)


def every_job(spec: Any = FULL) -> Iterator[Any]:
    run, plan = plan_of(spec)
    for step in plan.spec.steps:
        yield jobs.step_job(run, plan, step, RUNNER_IMAGE, COMMIT)
        if step.source.git:
            yield jobs.resolve_job(run, plan, step, RUNNER_IMAGE)


# --- names ---

dns_name = st.from_regex(r"[a-z0-9]([-.a-z0-9]{0,250}[a-z0-9])?", fullmatch=True)
label = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)


@given(name=dns_name, step=label)
def test_names_are_short_labels_and_tell_run_and_step(name: str, step: str) -> None:
    run = a_run(name=name)
    made = [jobs.child_name(run, part) for part in (step, jobs.resolve_part(step), "a-plan-x")]
    for child in made:
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", child), child
        assert len(child) <= 52
        assert child.startswith(name[0])
    assert len(set(made)) == 3


def test_names_differ_by_uid_step_and_purpose_and_repeat_themselves() -> None:
    one, other = a_run(), a_run(uid="other")
    long = "a-very-long-step-name-that-is-cut-"
    parts = ["unit", "unit2", jobs.resolve_part("unit"), "unit-git", f"{long}1", f"{long}2", "plan"]
    made = [jobs.child_name(run, part) for run in (one, other) for part in parts]
    assert len(set(made)) == len(made)
    assert jobs.child_name(one, "unit") == jobs.child_name(a_run(), "unit")


# --- limits ---


@given(
    shards=st.integers(1, 64),
    parallelism=st.integers(1, 64),
    start=st.integers(1, 7200),
    timeout=st.integers(1, 90000),
)
def test_limits_are_nested(shards: int, parallelism: int, start: int, timeout: int) -> None:
    """Watchdog < pod deadline < Job deadline, even if every pod of every wave is late and three of them are lost."""
    step = a_step(shards=shards, startTimeout=f"{start}s", timeout=f"{timeout}s")
    run, plan = plan_of(a_spec(step, parallelism=parallelism))
    job: Any = jobs.step_job(run, plan, plan.spec.steps[0], RUNNER_IMAGE, None)
    watchdog = plans.document(run, plan)["steps"][0]["timeoutSeconds"]
    pod = job["spec"]["template"]["spec"]
    grace = pod["terminationGracePeriodSeconds"]
    assert watchdog == timeout
    assert start + watchdog < pod["activeDeadlineSeconds"]
    waves = -(-shards // min(shards, parallelism))
    one_after_the_other = start + pod["activeDeadlineSeconds"] + grace  # pending, then at work, then ending
    assert waves * (1 + jobs.DISRUPTIONS) * one_after_the_other < job["spec"]["activeDeadlineSeconds"]


# --- Pod Security `restricted`, from the standard's list ---

RESTRICTED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip


def violations(pod: Any) -> list[str]:
    found = [key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    for volume in pod.get("volumes", []):
        found += [f"volume {kind}" for kind in volume.keys() - {"name"} - RESTRICTED_VOLUMES]
    whole = pod.get("securityContext", {})
    found += [f"pod {key}" for key in ("sysctls", "seLinuxOptions", "windowsOptions") if whole.get(key)]
    for container in [*pod.get("initContainers", []), *pod["containers"], *pod.get("ephemeralContainers", [])]:
        own = container.get("securityContext", {})
        seccomp = own.get("seccompProfile", whole.get("seccompProfile", {})).get("type")
        checks = {
            "privileged": not own.get("privileged"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "runAsNonRoot": own.get("runAsNonRoot", whole.get("runAsNonRoot")) is True,
            "runAsUser": own.get("runAsUser", whole.get("runAsUser", 1)) != 0,
            "capabilities.drop": "ALL" in own.get("capabilities", {}).get("drop", []),
            "capabilities.add": set(own.get("capabilities", {}).get("add", [])) <= {"NET_BIND_SERVICE"},
            "seccomp": seccomp in ("RuntimeDefault", "Localhost"),
            "procMount": own.get("procMount", "Default") == "Default",
            "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
            "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,  # ours, beyond the standard
        }
        found += [f"{container['name']}: {name}" for name, good in checks.items() if not good]
    return found


def test_invariant_10_pods_are_restricted_and_hold_no_token() -> None:
    manifests = list(every_job())
    assert len(manifests) == 4
    for job in manifests:
        pod = job["spec"]["template"]["spec"]
        assert violations(pod) == []
        assert pod["automountServiceAccountToken"] is False
        assert pod["restartPolicy"] == "Never"


def test_only_a_step_that_names_an_account_gets_its_token() -> None:
    chaotic = a_step("chaotic", serviceAccountName="proctor-chaos")
    run, plan = plan_of(a_spec(a_step("plain"), chaotic, runner={"serviceAccountName": "tests"}))
    pods = {
        step.name: jobs.step_job(run, plan, step, RUNNER_IMAGE, None)["spec"]["template"]["spec"]
        for step in plan.spec.steps
    }
    held = {name: (pod["serviceAccountName"], pod["automountServiceAccountToken"]) for name, pod in pods.items()}
    assert held == {"plain": ("tests", False), "chaotic": ("proctor-chaos", True)}


@pytest.mark.parametrize("volume", [{"hostPath": {"path": "/"}}, {"nfs": {"server": "x", "path": "/"}}, {}])
def test_invariant_10_other_volumes_are_refused(volume: dict[str, Any]) -> None:
    runner = {"podTemplate": {"volumes": [{"name": "root", **volume}]}}
    with pytest.raises(InvalidSpec, match=r"spec\.runner\.podTemplate\.volumes\[0\]") as refused:
        plan_of(a_spec(runner=runner))
    assert refused.value.reason == names.INVALID_SPEC


def test_invariant_10_a_mounted_api_token_is_refused() -> None:
    token = {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    with pytest.raises(InvalidSpec, match="serviceAccountToken"):
        plan_of(a_spec(runner={"podTemplate": {"volumes": [token]}}))


# --- what is in a Job ---


def test_a_steps_job() -> None:
    run, plan = plan_of()
    job: Any = jobs.step_job(run, plan, plan.step("unit"), RUNNER_IMAGE, COMMIT)
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 2)
    assert (spec["backoffLimitPerIndex"], spec["podReplacementPolicy"]) == (0, "Failed")
    assert spec["podFailurePolicy"]["rules"][0]["action"] == "Ignore"
    prepare, main = pod["initContainers"][0], pod["containers"][0]
    assert (prepare["name"], prepare["image"]) == (names.PREPARE_CONTAINER, RUNNER_IMAGE)
    assert (main["name"], main["image"]) == (names.RUNNER_CONTAINER, "user/image:1")
    env = {entry["name"]: entry.get("value") for entry in main["env"]}
    assert env[names.ENV_MODE] == "MOCK", "ours come last and win"
    assert env["PROCTOR_ENDPOINT_API_GW"] == "http://gw:80"
    assert env[names.ENV_COMMIT] == COMMIT
    assert {"prefix": names.ENV_TARGET_PREFIX, "secretRef": {"name": "keys"}} in main["envFrom"]
    assert {"name": "cache", "mountPath": "/cache"} in main["volumeMounts"]
    assert not any(mount["name"] == "git" for mount in main["volumeMounts"]), "tests cannot read the git secret"
    labels = job["metadata"]["labels"]
    assert labels[names.LABEL_EXCLUSIVE] == "true"
    assert labels[names.LABEL_RUN_UID] == run.metadata.uid
    pod_labels = spec["template"]["metadata"]["labels"]
    assert labels.items() <= pod_labels.items()
    assert pod_labels["team"] == "a"
    owner = job["metadata"]["ownerReferences"][0]
    assert (owner["uid"], owner["controller"]) == (run.metadata.uid, True)
    json.dumps(job)


def test_runs_share_a_lock_by_the_targets_namespace_and_name() -> None:
    def key(where: str, **target: Any) -> str:
        run = a_run({"suite": a_spec(target={"name": "shop", **target})}, namespace=where)
        return jobs.target_key(run, run.spec.suite)  # type: ignore[arg-type]

    assert key("a") == key("b", namespace="a") != key("b")
    assert len({key("a"), key("a", name="other"), key("b")}) == 3


# --- the plan ---


def test_a_plan_comes_back_as_it_was_stored() -> None:
    run, plan = plan_of()
    manifest: Any = jobs.plan_config_map(run, plan)
    assert manifest["immutable"] is True
    assert plans.load(json.loads(manifest["data"][names.PLAN_KEY])) == plan
    assert manifest["metadata"]["name"] == jobs.child_name(run, "plan")


def test_the_document_holds_what_the_runner_needs() -> None:
    run, plan = plan_of()
    step = plans.document(run, plan)["steps"][0]
    assert step["retry"] == {"attempts": 3, "backoffSeconds": 2, "factor": 2, "maxBackoffSeconds": 30}
    assert step["source"] == {"kind": "Git", "url": "https://git.example/r.git", "ref": "main", "path": "sub"}
    assert step["quarantine"] == ["t::today"], "a quarantine counts to the end of its last day"
    assert [entry.test for entry in plan.spec.quarantine] == ["t::today"]
    assert step["evidence"] == ["requests", "tenants"]


def test_a_run_narrows_its_suite_and_may_choose_mode_and_seed() -> None:
    _, plan = plan_of(steps=["image"], mode="GOLDEN", seed=7)
    assert [step.name for step in plan.spec.steps] == ["image"]
    assert (plan.mode, plan.seed) == (Mode.GOLDEN, 7)
    own = plans.make(a_run({"suiteRef": {"name": "n"}}, uid="x"), a_suite(), TODAY)
    again = plans.make(a_run({"suiteRef": {"name": "n"}}, uid="x"), a_suite(), TODAY)
    other = plans.make(a_run({"suiteRef": {"name": "n"}}, uid="y"), a_suite(), TODAY)
    assert own == again
    assert own.seed != other.seed
    assert own.digest == other.digest


@pytest.mark.parametrize("version", [None, 0, 2, "1"])
def test_a_plan_of_another_version_is_not_read(version: Any) -> None:
    with pytest.raises(ValueError, match="version"):
        plans.load({"version": version})


def test_durations_in_seconds_are_those_of_the_spec() -> None:
    _, plan = plan_of()
    assert seconds(plan.step("unit").timeout) == 420
