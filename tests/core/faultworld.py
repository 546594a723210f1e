"""A pure little world for one ChaosExperiment: it carries out decisions on dicts and turns the clock.

It stands for the API server, the kubelet, the controller of the target, the observer and the fault agents, as far as a
decision can see them. Faults are real in it: a cut port answers nobody until its time is over, and the observer
reports what it saw of that, not what a test wants.

The clock ticks a quarter of a second; the operator makes a pass every half second, unless it is away. Like the API
server, it refuses a status write when the object has changed since it was read.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from typing_extensions import override

from builders import RUNNER_IMAGE, T0, at
from proctor.api import names
from proctor.api.base import Metadata
from proctor.api.chaos import ChaosExperiment, ChaosExperimentSpec, ChaosExperimentStatus
from proctor.api.scalars import Driver, Fault, seconds
from proctor.core import conditions
from proctor.core.actions import (
    AddAgent,
    ChaosAction,
    CreateMeshFault,
    CreatePod,
    Decision,
    DeleteMeshFault,
    DeletePod,
    Event,
    KillPod,
    SetFinalizer,
)
from proctor.core.chaos import ladder, manifests
from proctor.core.chaos.observed import (
    Agent,
    HelperPod,
    MeshFault,
    ObservedExperiment,
    Surroundings,
    TargetPod,
    Workload,
)
from proctor.core.observed import AskInjection, Ended
from proctor.core.timeline import (
    BAD_BASELINE,
    DEADLINE,
    NO_LOSS,
    PROBE,
    RECOVERED,
    STOPPED,
    TARGET,
    Deed,
    Held,
    Loss,
    Timeline,
    Track,
    encode,
    encode_deed,
)

UID = "99999999-2222-3333-4444-555555555555"
TICK = timedelta(milliseconds=250)
STEADY = timedelta(seconds=2)
KEEPALIVE = timedelta(seconds=3)


class Killed(Exception):
    """The operator is killed here."""


class Refused(Exception):
    """The API server says no."""


def an_experiment(fault: Fault = Fault.NETWORK_CUT, **spec: Any) -> ChaosExperiment:
    """Return a ChaosExperiment made at T0 on pods with the label app=shop, all of which it may hit."""
    target = {"targetRef": {"kind": "Deployment", "name": "shop"}} if fault is Fault.OUTAGE else {}
    values: dict[str, Any] = {
        "fault": fault,
        "duration": "10s",
        "recoveryTimeout": "30s",
        "limits": {"maxPercent": 100, "maxCount": 10},
        **(target or {"selector": {"matchLabels": {"app": "shop"}}}),
        **({"port": 4222} if fault is Fault.NETWORK_CUT else {}),
        **({"mode": "All"} if fault is Fault.OUTAGE else {}),
        **spec,
    }
    return ChaosExperiment(
        api_version=names.API_VERSION,
        kind=names.CHAOS_EXPERIMENT,
        metadata=Metadata(name="cut", uid=UID, creation_timestamp=T0, generation=1, resource_version="1"),
        spec=ChaosExperimentSpec.model_validate(values),
    )


def a_target(name: str = "shop-0", **fields: Any) -> TargetPod:
    """Return a Ready pod that any fault may hit."""
    values: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "ip": "10.0.0.1",
        "container": "main",
        "command": ("tini", "--", "shop"),
        "user": 1000,
        "door": (8080, "/healthz"),
        "ready_since": at(-60),
    }
    return TargetPod(**{**values, **fields})


@dataclass
class Sick:
    """How the world deviates from one in which all goes well. Times are seconds after what would happen normally."""

    agents: dict[tuple[str, str], str] = field(default_factory=dict)
    """By action and pod ("" for all): what becomes of an agent. "silent" never starts, "dies" is killed after it has
    acted, "dies first" before, "garbled" leaves no report, and any other word is the error with which it refuses."""
    immune: bool = False
    """No fault has any effect."""
    comes_back: float = 3.0
    """Seconds from the end of a fault until the target is well."""
    never_well: bool = False
    """Nor does it come back."""
    observer: str = ""
    """"bad" sees no steady state, "silent" never starts, "garbled" leaves no report."""
    refused: str = ""
    """What the API server says when a fault is made."""
    refuses_heals: bool = False
    stuck: bool = False
    """Killed pods stay terminating."""
    skew: float = 0.0
    """How many seconds the clocks of the target's node are ahead."""
    agent_delay: float = 1.0


@dataclass(repr=False)
class FaultWorld:
    """One experiment in its world. Fields are the world's state; a test may change them between passes."""

    experiment: ChaosExperiment
    pods: dict[str, TargetPod] = field(default_factory=lambda: {"uid-shop-0": a_target()})
    sick: Sick = field(default_factory=Sick)
    now: datetime = T0
    surroundings: Surroundings | None = field(default_factory=lambda: Surroundings(allowed=True))
    workload: Workload | None = field(default_factory=lambda: Workload("Deployment", "shop", 1))
    rival: str = ""
    refusal: str = ""
    """What a dry run meets."""
    raw_spec: Mapping[str, object] = field(default_factory=dict)
    helpers: dict[str, HelperPod] = field(default_factory=dict)
    mesh: MeshFault | None = None
    failed: str = ""
    gone: bool = False
    """The experiment's object is no more."""
    hits: Counter[str] = field(default_factory=Counter)
    """How often each target was hit, by its name."""
    asked: list[ChaosAction] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    history: list[ChaosExperimentStatus] = field(default_factory=list)
    away: datetime | None = None
    """Until when there is no operator."""
    kill_at: int | None = None
    """The how-manieth write of the operator it does not survive, from 0; odd ones die after, even ones before it."""
    kill_for: float = 0.0
    """Seconds that the operator is away then."""
    writes: int = 0
    born: dict[tuple[str, str], datetime] = field(default_factory=dict)
    on: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    """From when to when each target is under the fault, by uid."""
    lost: dict[str, list[tuple[datetime, datetime | None]]] = field(default_factory=dict)
    """What the observer saw of each target: the losses of new connections."""
    held: dict[str, datetime | None] = field(default_factory=dict)
    probe_lost: list[tuple[datetime, datetime | None]] = field(default_factory=list)
    good_at: datetime | None = None
    serial: int = 0
    outage_at: tuple[datetime, datetime] | None = None

    # --- what the operator sees and does ------------------------

    @property
    def status(self) -> ChaosExperimentStatus:
        return self.experiment.status

    @property
    def fault(self) -> Fault:
        return self.experiment.spec.fault

    @property
    def outcome(self) -> tuple[str | None, str]:
        return self.status.verdict and self.status.verdict.value, self.status.reason

    @override
    def __repr__(self) -> str:
        told = [(c.type, c.status, c.reason) for c in self.status.conditions]
        return f"FaultWorld({self.outcome} {self.status.message!r} {told} +{(self.now - T0).total_seconds():g} s)"

    def edit(self, **spec: Any) -> None:
        """Change the spec, as a user may: abort."""
        self._change(spec=self.experiment.spec.model_copy(update=spec))

    def delete(self) -> None:
        """Delete the experiment, as a user may."""
        if names.FINALIZER not in self.experiment.metadata.finalizers:
            self.gone = True
        elif self.experiment.metadata.deletion_timestamp is None:
            self._change(meta={"deletion_timestamp": self._second})

    def truth(self, kind: str) -> tuple[str, str] | None:
        found = conditions.get(self.status.conditions, kind)
        return (found.status, found.reason) if found else None

    def observe(self) -> ObservedExperiment:
        dark = self.surroundings is None
        return ObservedExperiment(
            experiment=self.experiment,
            now=self._second,
            raw_spec=self.raw_spec,
            surroundings=self.surroundings,
            pods=() if dark else tuple(self.pods.values()),
            workload=None if dark else self.workload,
            helpers={} if dark else dict(self.helpers),
            mesh=self.mesh,
            rival=self.rival,
            failed=self.failed,
            began=self.away or T0,
        )

    def decide(self) -> Decision[ChaosExperimentStatus]:
        """Decide, answering the question, each time twice: the same world must give the same decision."""
        seen = self.observe()
        for _ in range(2):
            decision = ladder.decide(seen, RUNNER_IMAGE)
            assert decision == ladder.decide(seen, RUNNER_IMAGE)
            if not decision.questions:
                return decision
            assert not decision.actions
            (question,) = decision.questions
            assert isinstance(question, AskInjection)
            seen = replace(seen, refusal=self.refusal)
        raise AssertionError(f"still asks: {decision.questions}")

    def step(self) -> None:
        """Make one pass: observe, decide, apply. The operator may be killed in it."""
        if self.gone or (self.away is not None and self.now < self.away):
            return
        decision = self.decide()
        version = self.experiment.metadata.resource_version
        try:
            for action in decision.actions:
                assert not isinstance(action, tuple)
                self._write(lambda act=action: self._act(act))  # type: ignore[misc]
            if decision.status != self.status and not self.gone:
                self._write(lambda: self._store(decision, version))
        except Refused:
            return
        except Killed:
            self.failed = ""  # it was remembered in its process only
            self.away = self.now + timedelta(seconds=self.kill_for)
            return
        self.events += decision.events

    def _write(self, write: Callable[[], None]) -> None:
        number, self.writes = self.writes, self.writes + 1
        if self.kill_at is not None and number == self.kill_at // 2:
            if self.kill_at % 2:
                write()
            raise Killed
        write()

    def _store(self, decision: Decision[ChaosExperimentStatus], version: str) -> None:
        if version != self.experiment.metadata.resource_version:
            raise Refused("conflict")
        before = self.status
        text = decision.status.model_dump_json(by_alias=True)
        self._change(status=ChaosExperimentStatus.model_validate_json(text))
        assert before.verdict in (None, self.status.verdict), "a verdict is final"
        assert before.matched in (0, self.status.matched), "targets are chosen once"
        self.history.append(self.status)

    def _change(self, *, meta: Mapping[str, Any] | None = None, **update: Any) -> None:
        version = str(int(self.experiment.metadata.resource_version) + 1)
        changed = self.experiment.metadata.model_copy(update={**(meta or {}), "resource_version": version})
        self.experiment = self.experiment.model_copy(update={**update, "metadata": changed})

    def _act(self, action: Any) -> None:
        self.asked.append(action)
        makes = self.truth(names.INJECTED) in ((("Unknown", names.INJECTING)), ("False", names.SELECTED))
        match action:
            case SetFinalizer(present):
                self._change(meta={"finalizers": [names.FINALIZER] if present else []})
                self.gone = self.experiment.metadata.deletion_timestamp is not None and not present
                return
            case DeletePod(name, uid):
                role = name.split("-")[1]
                if role in self.helpers and self.helpers[role].uid == uid:
                    self._end_helper(role)
                return
            case DeleteMeshFault():
                self.mesh = None
                return
            case _:
                pass
        if makes and self.sick.refused and not isinstance(action, CreatePod):
            self.failed = self.sick.refused
            raise Refused(self.failed)
        if not makes and self.sick.refuses_heals:
            raise Refused("no heal")
        match action:
            case CreatePod(manifest):
                role = manifest["metadata"]["name"].split("-")[1]
                if role not in self.helpers:
                    self.serial += 1
                    made = HelperPod(manifest["metadata"]["name"], f"{role}-{self.serial}", self._second)
                    self.helpers[role] = made
                    self.born["helper", made.uid] = self.now
            case AddAgent(_, uid, container):
                pod = self.pods.get(uid)
                if pod is None or container["name"] in pod.agents:
                    return
                self.pods[uid] = replace(pod, agents={**pod.agents, container["name"]: Agent()})
                self.born[uid, container["name"]] = self.now
            case KillPod(name, uid):
                pod = self.pods.get(uid)
                if pod is not None and not pod.deleting:
                    self._hit(pod)
                    self.pods[uid] = replace(pod, deleting=True, ready_since=None)
                    self.born["killed", uid] = self.now
            case CreateMeshFault():
                if self.mesh is None:
                    self.mesh = MeshFault("proctor-fault", injected=False, recovered=False)
                    self.born["mesh", "mesh"] = self.now
            case _:
                raise AssertionError(f"an experiment does not ask for {action}")

    # --- time ---------------------------------------------------

    @property
    def _second(self) -> datetime:
        return self.now.replace(microsecond=0)

    def tick(self) -> None:
        """Let a quarter of a second pass, for everybody."""
        self.now += TICK
        self._agents()
        self._killed_pods()
        self._outage_pods()
        self._mesh()
        self._observer()
        if self.now.microsecond in (0, 500_000):
            self.step()
            self.step()

    def wait(self, duration: float) -> None:
        """Let time pass."""
        end = self.now + timedelta(seconds=duration)
        while self.now < end:
            self.tick()

    def until(self, done: Callable[["FaultWorld"], bool], *, within: float = 400) -> "FaultWorld":
        """Let time pass until `done`; fail if that takes too long."""
        end = self.now + timedelta(seconds=within)
        while not done(self):
            assert self.now < end, f"not done: {self}"
            self.tick()
        return self

    def finish(self, *, within: float = 400) -> ChaosExperimentStatus:
        """Let time pass until the verdict and the release, and a little more: it must stay."""
        self.until(
            lambda w: w.gone or (w.status.verdict is not None and not w.experiment.metadata.finalizers), within=within
        )
        self.wait(2)
        return self.status

    # --- the machinery of the cluster ---------------------------

    def _hit(self, pod: TargetPod) -> None:
        self.hits[pod.name] += 1

    def _duration(self) -> timedelta:
        return timedelta(seconds=seconds(self.experiment.spec.duration))

    def _clock(self) -> int:
        """The time on the target's node, in milliseconds."""
        return round((self.now + timedelta(seconds=self.sick.skew)).timestamp() * 1000)

    def _agents(self) -> None:
        for uid, pod in list(self.pods.items()):
            for name, agent in pod.agents.items():
                changed = self._agent(pod, name, agent)
                self.pods[uid] = replace(self.pods[uid], agents={**self.pods[uid].agents, name: changed})

    def _agent(self, pod: TargetPod, name: str, agent: Agent) -> Agent:
        action = name.split("-")[1]
        fate = self.sick.agents.get((action, pod.name), self.sick.agents.get((action, ""), ""))
        begins = self.born[pod.uid, name] + timedelta(seconds=self.sick.agent_delay)
        if agent.ended is not None or self.now < begins or fate == "silent":
            return agent
        if agent.started_at is not None:
            # A pausing agent, at work.
            _, end = self.on[pod.uid]
            if fate == "dies":
                return replace(agent, ended=Ended(137, "Error", encode_deed(self._deed(action, self.on[pod.uid][0]))))
            if self.now < end:
                return agent
            deed = replace(self._deed(action, self.on[pod.uid][0]), complete=True, healed_at=self._ms(end))
            return replace(agent, ended=Ended(0, "Completed", encode_deed(deed)))
        if fate == "garbled":
            return Agent(self._second, Ended(1, "Error", "Traceback"))
        if fate == "dies first":
            return Agent(self._second, Ended(137, "OOMKilled", ""))
        if fate not in ("", "dies"):
            deed = Deed(UID, action, complete=True, error=fate, message="it will not")
            return Agent(self._second, Ended(1, "Error", encode_deed(deed)))
        return self._do(pod, action, fate)

    def _do(self, pod: TargetPod, action: str, fate: str) -> Agent:
        deed = self._deed(action, self.now)
        if action in (manifests.CUT, manifests.KILL, manifests.PAUSE):
            self._hit(pod)
            end = self.now + (timedelta(0) if action == manifests.KILL else self._duration())
            self.on[pod.uid] = (self.now, end)
        if action == manifests.PAUSE:
            return Agent(self._second)
        if action in (manifests.UNCUT, manifests.RESUME):
            start, end = self.on.get(pod.uid, (self.now, self.now))
            left = int(self.now < end)
            self.on[pod.uid] = (start, min(end, self.now))
            deed = Deed(UID, action, healed_at=self._clock(), left=left if action == manifests.UNCUT else None)
        if fate == "dies":
            return Agent(self._second, Ended(137, "Error", encode_deed(deed)))
        return Agent(self._second, Ended(0, "Completed", encode_deed(replace(deed, complete=True))))

    def _deed(self, action: str, when: datetime) -> Deed:
        return Deed(UID, action, injected_at=self._ms(when))

    def _ms(self, when: datetime) -> int:
        return round((when + timedelta(seconds=self.sick.skew)).timestamp() * 1000)

    def _killed_pods(self) -> None:
        for uid, pod in list(self.pods.items()):
            killed = self.born.get(("killed", uid))
            if killed is None or self.now < killed + timedelta(seconds=1):
                continue
            if uid not in self.on:
                self.on[uid] = (self.now, self.now)
                self.born["successor", pod.name] = self.now
            if not self.sick.stuck and self.now >= killed + timedelta(seconds=2):
                del self.pods[uid]
        for (what, name), when in list(self.born.items()):
            if what == "successor" and not self.sick.never_well and self._well(when):
                new = a_target(f"{name}n", ready_since=self._second)
                self.pods.setdefault(new.uid, new)

    def _well(self, since: datetime) -> bool:
        return not self.sick.never_well and self.now >= since + timedelta(seconds=self.sick.comes_back)

    def _end_helper(self, role: str) -> None:
        """Delete a pod of ours: it gets its signal, has its last word, and goes."""
        helper = self.helpers[role]
        self.helpers[role] = replace(helper, deleting=True)
        self.born["deleted", helper.uid] = self.now

    def _outage_pods(self) -> None:
        for role in (manifests.OUTAGE, manifests.RESTORE):
            helper = self.helpers.get(role)
            if helper is None:
                continue
            born = self.born["helper", helper.uid]
            fate = self.sick.agents.get((role, ""), "")
            deleted = self.born.get(("deleted", helper.uid))
            if deleted is not None and (fate == "silent" or helper.over or self.now >= deleted + timedelta(seconds=2)):
                del self.helpers[role]
                continue
            if helper.over or fate == "silent" or self.now < born + timedelta(seconds=self.sick.agent_delay):
                continue
            if fate not in ("", "dies", "dies first"):
                deed = Deed(UID, role, complete=True, error=fate, message="it will not")
                self.helpers[role] = replace(helper, phase="Running", ended=Ended(1, "Error", encode_deed(deed)))
                continue
            self._scale(role, helper, fate, deleted)

    def _scale(self, role: str, helper: HelperPod, fate: str, deleted: datetime | None) -> None:
        assert self.workload is not None
        if role == manifests.OUTAGE and self.outage_at is None:
            if fate == "dies first":
                self.helpers[role] = replace(helper, phase="Failed")
                return
            for pod in self.pods.values():
                self._hit(pod)
                self.on[pod.uid] = (self.now, self.now)
            self.pods = {}
            self.workload = replace(self.workload, replicas=0)
            self.outage_at = (self.now, self.now + self._duration())
        assert self.outage_at is not None
        start, end = self.outage_at
        self.helpers[role] = replace(helper, phase="Running")
        if fate == "dies":
            self.helpers[role] = replace(helper, phase="Failed")
            return
        if role == manifests.RESTORE or self.now >= end or deleted is not None:
            end = min(end, self.now) if role == manifests.OUTAGE else self.now
            replicas = self.status.replicas
            self.workload = replace(self.workload, replicas=replicas)
            for number in range(replicas):
                self.born["successor", f"back-{number}"] = end
            at_start = self._ms(start) if role == manifests.OUTAGE else None
            deed = Deed(UID, role, complete=True, injected_at=at_start, healed_at=self._clock(), replicas=replicas)
            self.helpers[role] = replace(self.helpers[role], ended=Ended(0, "Completed", encode_deed(deed)))

    def _mesh(self) -> None:
        born = self.born.get(("mesh", "mesh"))
        if born is None:
            return
        if self.mesh is None:
            for uid, (start, end) in list(self.on.items()):
                self.on[uid] = (start, min(end, self.now))
            return
        if self.sick.agents.get(("mesh", "")) == "silent":
            return
        start = born + timedelta(seconds=1)
        if self.now >= start and not self.mesh.injected:
            self.mesh = replace(self.mesh, injected=True)
            for target in self.status.targets:
                if target.uid in self.pods:
                    self._hit(self.pods[target.uid])
                    self.on[target.uid] = (self.now, self.now + self._duration())
        if self.now >= start + self._duration():
            self.mesh = replace(self.mesh, recovered=True)

    def _observer(self) -> None:
        helper = self.helpers.get(manifests.OBSERVER)
        if helper is None:
            return
        deleted = self.born.get(("deleted", helper.uid))
        if deleted is not None and (helper.over or self.sick.observer == "silent"):
            del self.helpers[manifests.OBSERVER]
            return
        age = self.now - self.born["helper", helper.uid]
        if helper.over or self.sick.observer == "silent" or age < timedelta(seconds=2):
            return
        if helper.ready_since is None:
            if self.sick.observer == "bad":
                self._report(helper, BAD_BASELINE)
                return
            self.good_at = self.now
            self.lost, self.held, self.probe_lost = {}, {}, []
            self.helpers[manifests.OBSERVER] = replace(helper, ready_since=self._second, phase="Running")
            return
        self._look()
        assert self.good_at is not None
        spec = self.experiment.spec
        allowed = timedelta(seconds=manifests.ALLOWANCE + manifests.HEAD_START + manifests.MARGIN) + self._duration()
        whole = self.good_at + allowed + timedelta(seconds=seconds(spec.recovery_timeout))
        first = min(
            [*(losses[0][0] for losses in self.lost.values() if losses), *(at for at in self.held.values() if at)],
            default=None,
        )
        if deleted is not None:
            self._report(helper, STOPPED)
        elif first is None and self.now >= self.good_at + allowed:
            self._report(helper, NO_LOSS)
        elif first is not None and self.now >= first + self._duration() and self._steady():
            self._report(helper, RECOVERED)
        elif self.now >= whole:
            self._report(helper, DEADLINE)

    def _moved(self) -> bool:
        return self.fault in (Fault.POD_KILL, Fault.OUTAGE)

    def _bad(self, uid: str) -> bool:
        """Whether a target answers nobody just now."""
        if uid not in self.on or self.sick.immune:
            return False
        start, end = self.on[uid]
        return self.now >= start and (self._moved() or not self._well(end))

    def _look(self) -> None:
        """See how the targets and the probe are."""
        for target in self.status.targets:
            losses = self.lost.setdefault(target.uid, [])
            bad = self._bad(target.uid)
            if bad and not (losses and losses[-1][1] is None):
                losses.append((self.now, None))
            elif not bad and losses and losses[-1][1] is None:
                losses[-1] = (losses[-1][0], self.now)
            self.held.setdefault(target.uid, None)
            start, end = self.on.get(target.uid, (self.now, self.now))
            frozen = self.fault is Fault.NETWORK_CUT
            ends = start + KEEPALIVE <= self.now <= end if frozen else self.fault is not Fault.PAUSE
            if bad and ends and self.held[target.uid] is None:
                self.held[target.uid] = self.now
        ends_of_all = [end for _, end in self.on.values()] or ([self.outage_at[1]] if self.outage_at else [])
        bad = bool(self.on) and not self.sick.immune and not all(self._well(end) for end in ends_of_all)
        if self.outage_at and not self.sick.immune and self.workload and self.workload.replicas == 0:
            bad = True
        if bad and not (self.probe_lost and self.probe_lost[-1][1] is None):
            self.probe_lost.append((self.now, None))
        elif not bad and self.probe_lost and self.probe_lost[-1][1] is None:
            self.probe_lost[-1] = (self.probe_lost[-1][0], self.now)

    def _steady(self) -> bool:
        tracks = list(self.lost.values()) if not self._moved() else []
        if self.experiment.spec.steady_state is not None:
            tracks.append(self.probe_lost)
        ends = [losses[-1][1] for losses in tracks if losses]
        return all(end is not None and self.now >= end + STEADY for end in ends)

    def _report(self, helper: HelperPod, how: str) -> None:
        if self.sick.observer == "garbled":
            self.helpers[manifests.OBSERVER] = replace(helper, ended=Ended(1, "Error", "boom"), phase="Failed")
            return
        pods = {target.uid: target.pod for target in self.status.targets}
        tracks = [_track(pods[uid], TARGET, losses) for uid, losses in self.lost.items()]
        if self.experiment.spec.steady_state is not None:
            tracks.append(_track("home", PROBE, self.probe_lost))
        good = how != BAD_BASELINE
        timeline = Timeline(
            UID,
            helper.uid,
            good=good,
            message="" if good else "target shop-0: refused",
            good_at=_milliseconds(self.good_at) if good else None,
            ended_at=_milliseconds(self.now),
            end=how,
            tracks=tuple(tracks),
            held=tuple(Held(pods[uid], _milliseconds(when)) for uid, when in self.held.items()),
        )
        ended = Ended(0, "Completed", encode(timeline))
        self.helpers[manifests.OBSERVER] = replace(helper, ended=ended, ready_since=None, phase="Succeeded")


def a_mesh_world(fault: Fault = Fault.NETWORK_CUT, **spec: Any) -> FaultWorld:
    """Return a world in which Chaos Mesh makes the fault."""
    limits = {"limits": {"maxPercent": 100, "maxCount": 10, "respectPDB": False}}
    return FaultWorld(an_experiment(fault, driver=Driver.CHAOS_MESH, **limits | spec))


def _track(name: str, role: str, losses: list[tuple[datetime, datetime | None]]) -> Track:
    told = tuple(Loss(_milliseconds(start) or 0, _milliseconds(end)) for start, end in losses)
    return Track(name, role, losses=told, samples=9, failed=len(told), error="timed out" if told else "")


def _milliseconds(when: datetime | None) -> int | None:
    return None if when is None else round(when.timestamp() * 1000)
