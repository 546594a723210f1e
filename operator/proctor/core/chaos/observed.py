"""What the world of one ChaosExperiment looks like, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from proctor.api.chaos import ChaosExperiment
from proctor.core.observed import Ended


@dataclass(frozen=True)
class Agent:
    """A container of ours in a target pod. `waiting` is why it does not start, as reason and message."""

    started_at: datetime | None = None
    ended: Ended | None = None
    waiting: tuple[str, str] | None = None


@dataclass(frozen=True)
class TargetPod:
    """A pod that could be hit.

    `container` is the one whose processes a fault concerns, `command` how its program is started (empty: as the image
    says), `user` the uid that it surely runs as. `door` is where it can be watched: its port, and the path of an HTTP
    check.
    `ready_since` is None while the pod is not Ready. `agents` are ours, by name.
    """

    name: str
    uid: str
    ip: str
    container: str
    command: tuple[str, ...] = ()
    user: int | None = None
    door: tuple[int, str] | None = None
    ready_since: datetime | None = None
    deleting: bool = False
    host_network: bool = False
    host_pid: bool = False
    static: bool = False
    agents: Mapping[str, Agent] = field(default_factory=dict)


@dataclass(frozen=True)
class HelperPod:
    """A pod of ours: the observer, or the one that makes an outage. `trouble` is why it does not start."""

    name: str
    uid: str
    created: datetime
    ready_since: datetime | None = None
    ended: Ended | None = None
    phase: str = "Pending"
    trouble: str = ""
    deleting: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing more will come from this pod."""
        return self.ended is not None or self.phase in ("Failed", "Succeeded")


@dataclass(frozen=True)
class Workload:
    """The workload that targetRef names. `autoscaler` is a HorizontalPodAutoscaler that scales it, or empty."""

    kind: str
    name: str
    replicas: int
    autoscaler: str = ""


@dataclass(frozen=True)
class Surroundings:
    """The experiment's namespace: whether it has opted in, its end, what Pod Security it enforces ("" for nothing)."""

    allowed: bool
    enforces: str = ""
    deleting: bool = False


@dataclass(frozen=True)
class MeshFault:
    """An object of Chaos Mesh: whether all targets have been injected, and then recovered, by its own word."""

    name: str
    injected: bool
    recovered: bool
    message: str = ""


@dataclass(frozen=True)
class ObservedExperiment:
    """One ChaosExperiment and its world.

    `surroundings` is None where the operator has no rights to chaos. `workload` is None when targetRef names nothing
    that exists, or names a Pod. `rival` is what must end first. `refusal` is what the API server said against a dry
    run of the injection, None until asked ("" for nothing). `failed` is what it said against the observer or the
    injection itself. `began` is when this operator began its work: nothing was done by it before.
    """

    experiment: ChaosExperiment
    now: datetime
    raw_spec: Mapping[str, object] = field(default_factory=dict)
    surroundings: Surroundings | None = None
    pods: tuple[TargetPod, ...] = ()
    workload: Workload | None = None
    helpers: Mapping[str, HelperPod] = field(default_factory=dict)
    mesh: MeshFault | None = None
    rival: str = ""
    refusal: str | None = None
    failed: str = ""
    began: datetime | None = None

    def pod(self, uid: str) -> TargetPod | None:
        """Return the pod with this uid, if it still exists."""
        return next((pod for pod in self.pods if pod.uid == uid), None)

    @property
    def ready(self) -> int:
        """How many of the pods that could be hit are Ready, and stay."""
        return sum(1 for pod in self.pods if pod.ready_since and not pod.deleting)
