"""Manifests of a run's children: the plan's ConfigMap, a step's Indexed Job, the Job that pins a git ref.

Children are created once and never re-applied, so their names must be a function of the run's uid and the step.
All pods satisfy Pod Security `restricted`, and hold no API token unless their step names the account whose it is.
"""

import hashlib
import json
from typing import Any

from proctor.api import names
from proctor.api.pods import Runner
from proctor.api.scalars import seconds
from proctor.api.step import Step
from proctor.api.testrun import TestRun
from proctor.api.testsuite import TestSuiteSpec
from proctor.core.actions import Manifest
from proctor.core.plan import Plan, document

MAX_NAME = 52
"""Job names end up, with an index, in pod names and labels of at most 63 characters."""
TMP = "/tmp"  # noqa: S108 - an emptyDir of the pod
USER = 65532
DISRUPTIONS = 3
"""Pods of one shard that may be lost to disruptions before the step gives up."""
GRACE = 60
"""Seconds between one limit and the next outer one, so that the inner one always speaks first."""


POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
# The pods' uid has no entry in /etc/passwd of any image.
USER_ENV: list[Manifest] = [{"name": "HOME", "value": TMP}, {"name": "USER", "value": "proctor"}]
_DEFAULT_RESOURCES = {"requests": {"cpu": "50m", "memory": "96Mi"}}


def child_name(run: TestRun, part: str) -> str:
    """Return the name of a run's child: readable, at most MAX_NAME characters, no dots, unique by uid and part."""
    digest = hashlib.sha256(f"{run.metadata.uid}/{part}".encode()).hexdigest()[:8]
    tail = f"{part[:20].replace('.', '-').strip('-')}-{digest}"
    head = run.metadata.name.replace(".", "-")[: MAX_NAME - len(tail) - 1].strip("-")
    return f"{head}-{tail}"


def resolve_part(step: str) -> str:
    """Return the child part of the Job that pins a step's git ref. A step name holds no dot, so it cannot collide."""
    return f"{step}.git"


def target_namespace(run: TestRun, spec: TestSuiteSpec) -> str:
    """Return where the target lives: by default beside the run."""
    return spec.target.namespace or run.metadata.namespace


def target_key(run: TestRun, spec: TestSuiteSpec) -> str:
    """Return the label value that names the target: runs with an equal one share its lock."""
    where = f"{target_namespace(run, spec)}/{spec.target.name}"
    return hashlib.sha256(where.encode()).hexdigest()[:16]


def pods_at_once(step: Step, spec: TestSuiteSpec) -> int:
    """Return how many pods a step's Job may run at the same time."""
    return min(step.shards, spec.parallelism)


def plan_config_map(run: TestRun, plan: Plan) -> Manifest:
    """Return the immutable ConfigMap with the plan."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(run, plan, "plan"),
        "immutable": True,
        "data": {names.PLAN_KEY: json.dumps(document(run, plan), sort_keys=True)},
    }


def step_job(run: TestRun, plan: Plan, step: Step, runner_image: str, commit: str | None) -> Manifest:
    """Return the Indexed Job of a step. `commit` pins a git source."""
    pods = pods_at_once(step, plan.spec)
    pod_deadline = seconds(step.start_timeout) + seconds(step.timeout) + GRACE
    waves = -(-step.shards // pods)
    spec: dict[str, Any] = {
        "completionMode": "Indexed",
        "completions": step.shards,
        "parallelism": pods,
        "backoffLimitPerIndex": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
        },
        # A backstop: it deletes pods and with them the evidence, so it must never come first.
        # Each pod may wait for a node, then work to its own deadline, then take its grace period to end.
        "activeDeadlineSeconds": (seconds(step.start_timeout) + pod_deadline + GRACE) * (1 + DISRUPTIONS) * waves,
        "template": _template(run, plan, step, runner_image, commit, pod_deadline),
    }
    metadata = _metadata(run, plan, step.name, role=names.ROLE_STEP, step=step)
    metadata |= {"annotations": {names.ANNOTATION_PLAN: plan.digest}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def resolve_job(run: TestRun, plan: Plan, step: Step, runner_image: str) -> Manifest:
    """Return the Job whose one pod resolves a step's git ref to a commit."""
    labels = _labels(run, plan, role=names.ROLE_RESOLVE, step=step)
    container = _container("resolve", runner_image, ["python3", "-m", "proctor.runner", "resolve"])
    container["env"] = USER_ENV + _own_env(step, None)
    container["resources"] = _DEFAULT_RESOURCES
    container["volumeMounts"] = [_mount("plan", names.PLAN_DIR, read_only=True), _mount("tmp", TMP)]
    volumes = [_plan_volume(run), _empty("tmp")]
    _add_git_secret(step, container, volumes)
    pod = _pod_spec(plan.spec.runner, volumes)
    pod |= {"containers": [container], "activeDeadlineSeconds": seconds(step.start_timeout)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(run, plan, resolve_part(step.name), role=names.ROLE_RESOLVE, step=step),
        "spec": {
            "backoffLimit": 0,
            "podFailurePolicy": {
                "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": 2 * seconds(step.start_timeout) + GRACE,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _template(run: TestRun, plan: Plan, step: Step, runner_image: str, commit: str | None, deadline: int) -> Manifest:
    runner = plan.spec.runner
    extra = runner.pod_template
    prepare = _container(names.PREPARE_CONTAINER, runner_image, ["python3", "-m", "proctor.runner", "prepare"])
    prepare["env"] = USER_ENV + _own_env(step, commit)
    prepare["resources"] = _DEFAULT_RESOURCES
    prepare["volumeMounts"] = [
        _mount("plan", names.PLAN_DIR, read_only=True),
        _mount("work", names.WORK_DIR),
        _mount("tmp", TMP),
    ]
    main = _container(names.RUNNER_CONTAINER, runner.image or runner_image, ["python3", names.RUNNER_DIR, "run"])
    # Ours come last: of two variables with one name the last counts.
    main["env"] = [*USER_ENV, *runner.env, *_target_env(plan), *_own_env(step, commit)]
    main["envFrom"] = [*runner.env_from, *_target_env_from(plan.spec)]
    main["resources"] = runner.resources or _DEFAULT_RESOURCES
    main["volumeMounts"] = [
        _mount("plan", names.PLAN_DIR, read_only=True),
        _mount("work", names.WORK_DIR),
        _mount("tmp", TMP),
        *(extra.volume_mounts if extra else ()),
    ]
    volumes = [_plan_volume(run), _empty("work"), _empty("tmp"), *(extra.volumes if extra else ())]
    if step.source.config_map_ref is not None:
        volumes.append({"name": "source", "configMap": {"name": step.source.config_map_ref.name}})
        prepare["volumeMounts"].append(_mount("source", names.CONFIG_MAP_DIR, read_only=True))
    _add_git_secret(step, prepare, volumes)
    pod = _pod_spec(runner, volumes)
    pod |= {"initContainers": [prepare], "containers": [main], "activeDeadlineSeconds": deadline}
    if step.service_account_name is not None:
        pod |= {"serviceAccountName": step.service_account_name, "automountServiceAccountToken": True}
    labels = (extra.labels if extra else {}) | _labels(run, plan, role=names.ROLE_STEP, step=step)
    return {"metadata": {"labels": labels, "annotations": extra.annotations if extra else {}}, "spec": pod}


def _pod_spec(runner: Runner, volumes: list[Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": POD_SECURITY,
        "volumes": volumes,
        "nodeSelector": runner.node_selector,
        "tolerations": runner.tolerations,
        "affinity": runner.affinity,
        "imagePullSecrets": [{"name": secret.name} for secret in runner.image_pull_secrets],
    }
    if runner.service_account_name:
        spec["serviceAccountName"] = runner.service_account_name
    return spec


def _container(name: str, image: str, command: list[str]) -> dict[str, Any]:
    return {"name": name, "image": image, "command": command, "securityContext": CONTAINER_SECURITY}


def _own_env(step: Step, commit: str | None) -> list[Manifest]:
    env: list[Manifest] = [
        {"name": names.ENV_STEP, "value": step.name},
        {"name": names.ENV_POD_UID, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
    ]
    if commit:
        env.append({"name": names.ENV_COMMIT, "value": commit})
    return env


def _target_env(plan: Plan) -> list[Manifest]:
    env: list[Manifest] = [
        {"name": names.ENV_MODE, "value": plan.mode.value},
        {"name": names.ENV_SEED, "value": str(plan.seed)},
    ]
    if plan.spec.target.namespace:
        env.append({"name": names.ENV_TARGET_NAMESPACE, "value": plan.spec.target.namespace})
    for endpoint in plan.spec.target.endpoints:
        name = names.ENV_ENDPOINT_PREFIX + endpoint.name.upper().replace("-", "_")
        env.append({"name": name, "value": endpoint.url})
    return env


def _target_env_from(spec: TestSuiteSpec) -> list[Manifest]:
    if spec.target.secret_ref is None:
        return []
    return [{"prefix": names.ENV_TARGET_PREFIX, "secretRef": {"name": spec.target.secret_ref.name}}]


def _add_git_secret(step: Step, container: dict[str, Any], volumes: list[Any]) -> None:
    git = step.source.git
    if git is not None and git.secret_ref is not None:
        volumes.append({"name": "git", "secret": {"secretName": git.secret_ref.name, "defaultMode": 0o440}})
        container["volumeMounts"].append(_mount("git", names.GIT_SECRET_DIR, read_only=True))


def _plan_volume(run: TestRun) -> Manifest:
    return {"name": "plan", "configMap": {"name": child_name(run, "plan")}}


def _empty(name: str) -> Manifest:
    return {"name": name, "emptyDir": {}}


def _mount(name: str, path: str, *, read_only: bool = False) -> Manifest:
    return {"name": name, "mountPath": path, "readOnly": read_only}


def step_labels(run: TestRun, step: Step) -> dict[str, str]:
    """Return the labels that say which step of which run something belongs to."""
    return {
        "app.kubernetes.io/managed-by": "proctor",
        names.LABEL_RUN_UID: run.metadata.uid,
        names.LABEL_RUN: names.label_value(run.metadata.name),
        names.LABEL_STEP: step.name,
    }


def _labels(run: TestRun, plan: Plan, *, role: str, step: Step) -> dict[str, str]:
    labels = step_labels(run, step) | {
        names.LABEL_ROLE: role,
        names.LABEL_TARGET: target_key(run, plan.spec),
    }
    if step.exclusive and role == names.ROLE_STEP:
        labels[names.LABEL_EXCLUSIVE] = "true"
        labels[names.LABEL_TARGET_NAMESPACE] = target_namespace(run, plan.spec)
    return labels


def _metadata(run: TestRun, plan: Plan, part: str, *, role: str = "plan", step: Step | None = None) -> dict[str, Any]:
    labels = _labels(run, plan, role=role, step=step) if step else {names.LABEL_RUN_UID: run.metadata.uid}
    return {
        "name": child_name(run, part),
        "namespace": run.metadata.namespace,
        "labels": labels,
        "ownerReferences": [run.as_owner()],
    }
