"""The API server's JSON for Jobs, pods and workloads -> the few facts that decisions need."""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from proctor.api import names
from proctor.core.observed import Ended, Job, Pod, Workload

Json = dict[str, Any]


def time_of(text: str | None) -> datetime:
    """Return an RFC 3339 time; the epoch when there is none."""
    return datetime.fromisoformat(text) if text else datetime.fromtimestamp(0, UTC)


def job(raw: Json) -> Job:
    """Return a Job of ours."""
    meta, spec, status = raw["metadata"], raw["spec"], raw.get("status") or {}
    labels = meta.get("labels") or {}
    ends = {c["type"]: c for c in status.get("conditions") or [] if c["status"] == "True"}
    failed = ends.get("Failed") or ends.get("FailureTarget")
    done = ends.get("Complete") or ends.get("SuccessCriteriaMet")
    end = failed or done
    return Job(
        name=meta["name"],
        uid=meta["uid"],
        namespace=meta["namespace"],
        run_uid=labels.get(names.LABEL_RUN_UID, ""),
        step=labels.get(names.LABEL_STEP, ""),
        role=labels.get(names.LABEL_ROLE, ""),
        created=time_of(meta["creationTimestamp"]),
        shards=spec.get("completions") or 1,
        pods=spec.get("parallelism") or 1,
        target=labels.get(names.LABEL_TARGET, ""),
        exclusive=labels.get(names.LABEL_EXCLUSIVE) == "true",
        target_namespace=labels.get(names.LABEL_TARGET_NAMESPACE, ""),
        plan=(meta.get("annotations") or {}).get(names.ANNOTATION_PLAN, ""),
        complete=done is not None,
        failed=(failed.get("reason") or "Failed") if failed else None,
        message=(failed.get("message") or "") if failed else "",
        finished_at=time_of(end["lastTransitionTime"]) if end else None,
    )


def pod(raw: Json) -> Pod:
    """Return a pod of ours."""
    meta, status = raw["metadata"], raw.get("status") or {}
    labels = meta.get("labels") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    containers = {
        c["name"]: c for c in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    }
    role = labels.get(names.LABEL_ROLE, "")
    main = containers.get(names.RUNNER_CONTAINER if role == names.ROLE_STEP else "resolve") or {}
    scheduled = conditions.get("PodScheduled") or {}
    disruption = conditions.get("DisruptionTarget") or {}
    disrupted = disruption.get("status") == "True"
    over = disrupted or status.get("phase") in ("Succeeded", "Failed")
    return Pod(
        name=meta["name"],
        uid=meta["uid"],
        namespace=meta["namespace"],
        run_uid=labels.get(names.LABEL_RUN_UID, ""),
        step=labels.get(names.LABEL_STEP, ""),
        role=role,
        index=int(labels.get("batch.kubernetes.io/job-completion-index", "0")),
        phase=status.get("phase") or "Pending",
        created=time_of(meta["creationTimestamp"]),
        reason=status.get("reason") or "",
        message=status.get("message") or (disruption.get("message", "") if disrupted else ""),
        waiting=waiting(containers.values()),
        unschedulable=scheduled.get("message", "") if scheduled.get("reason") == "Unschedulable" else None,
        disrupted=(disruption.get("reason") or "Disrupted") if disrupted else None,
        deleting="deletionTimestamp" in meta,
        started="running" in (main.get("state") or {}) or "terminated" in (main.get("state") or {}),
        prepare=ended(containers.get(names.PREPARE_CONTAINER), only_failed=True),
        runner=ended(main),
        ended_at=_ended_at(containers, disruption) if over else None,
    )


def workload(kind: str, raw: Json, pods: list[Json]) -> Workload:
    """Return a workload of the target with the image digests of its pods."""
    spec, status = raw["spec"], raw.get("status") or {}
    live = [
        pod
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
    ]
    images = {
        container["imageID"]
        for pod in live
        for container in (pod.get("status") or {}).get("containerStatuses") or []
        if container.get("imageID")
    }
    if kind == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        counts = [status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)]
    else:
        wanted = spec.get("replicas", 1)
        counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    seen = status.get("observedGeneration", 0) >= raw["metadata"].get("generation", 0)
    text = json.dumps(spec.get("template"), sort_keys=True)
    return Workload(
        kind=kind,
        name=raw["metadata"]["name"],
        images=tuple(sorted(images)),
        template=hashlib.sha256(text.encode()).hexdigest()[:16],
        settled=seen and all(count == wanted for count in counts) and len(live) == wanted,
    )


def selector(raw: Json) -> str:
    """Return a label selector as the API server takes it in a query; empty when it selects nothing or everything."""
    parts = [f"{key}={value}" for key, value in sorted((raw.get("matchLabels") or {}).items())]
    for rule in raw.get("matchExpressions") or []:
        key, values = rule["key"], ",".join(rule.get("values") or [])
        how = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        parts.append(how[rule["operator"]])
    return ",".join(parts)


def waiting(containers: Iterable[Json]) -> tuple[str, str] | None:
    """Return reason and message of the first container that waits for more than its turn."""
    for container in containers:
        state = (container.get("state") or {}).get("waiting") or {}
        if state.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
            return state["reason"], state.get("message", "")
    return None


def _ended_at(containers: dict[str, Json], disruption: Json) -> datetime | None:
    """Return when the last container ended, or when the pod was disrupted if that is all that is known."""
    ends = [
        ((container.get("state") or {}).get("terminated") or {}).get("finishedAt") for container in containers.values()
    ]
    times = [time_of(end) for end in (*ends, disruption.get("lastTransitionTime")) if end]
    return max(times, default=None)


def ended(container: Json | None, *, only_failed: bool = False) -> Ended | None:
    """Return how a container ended; None while it has not, and with `only_failed` when it ended well."""
    last = ((container or {}).get("state") or {}).get("terminated")
    if not last or (only_failed and last["exitCode"] == 0):
        return None
    return Ended(last["exitCode"], last.get("reason") or "", last.get("message") or "")
