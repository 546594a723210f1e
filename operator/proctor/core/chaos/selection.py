"""Which of the matching pods a fault takes: by mode and seed, within the limits."""

import hashlib
from collections.abc import Sequence

from proctor.api import names
from proctor.api.chaos import ChaosExperimentSpec
from proctor.api.scalars import TargetMode
from proctor.core.chaos.observed import TargetPod
from proctor.core.errors import InvalidSpec


def choose(spec: ChaosExperimentSpec, pods: Sequence[TargetPod], uid: str) -> tuple[TargetPod, ...]:
    """Return the pods to hit, in the order of their names; `uid` is the seed where the spec has none.

    Only Ready pods that are not being deleted can be hit. Raises InvalidSpec when there is none, or when the mode takes
    more than the limits allow.
    """
    ready = sorted((pod for pod in pods if pod.ready_since and not pod.deleting), key=lambda pod: pod.name)
    if not ready:
        found = f"{len(pods)} match, none is Ready" if pods else "no pod matches"
        raise InvalidSpec(names.TARGET_NOT_FOUND, f"{_where(spec)}: {found}")
    count = _count(spec, len(ready))
    limits = spec.limits
    if count > len(ready):
        raise InvalidSpec(names.TARGET_NOT_FOUND, f"spec.value: {count} pods are wanted, {len(ready)} are Ready")
    if count > limits.max_count:
        message = f"{count} pods would be hit, limits.maxCount allows {limits.max_count}"
        raise InvalidSpec(names.LIMITS_EXCEEDED, message)
    if count * 100 > limits.max_percent * len(ready):
        message = f"{count} of {len(ready)} pods would be hit, limits.maxPercent allows {limits.max_percent} %"
        raise InvalidSpec(names.LIMITS_EXCEEDED, message)
    seed = uid if spec.seed is None else str(spec.seed)
    drawn = sorted(ready, key=lambda pod: hashlib.sha256(f"{seed}/{pod.name}".encode()).digest())[:count]
    return tuple(sorted(drawn, key=lambda pod: pod.name))


def _count(spec: ChaosExperimentSpec, ready: int) -> int:
    match spec.mode:
        case TargetMode.ONE:
            return 1
        case TargetMode.ALL:
            return ready
        case TargetMode.FIXED:
            return spec.value or 1
        case TargetMode.PERCENT:
            return max(1, ready * (spec.value or 1) // 100)


def _where(spec: ChaosExperimentSpec) -> str:
    if spec.target_ref is not None:
        return f"spec.targetRef {spec.target_ref.kind}/{spec.target_ref.name}"
    return "spec.selector"
