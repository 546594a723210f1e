"""What is known of the cluster: filled by watches and by the answers to our own writes, read by observe.

Reads are immediate and never wait, so that a decision and the claims that it makes fall into one moment.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from proctor.api import names
from proctor.api.chaos import ChaosExperiment
from proctor.api.testrun import TestRun
from proctor.core.jobs import target_key
from proctor.core.observed import Claim, Job, Pod
from proctor.core.plan import Plan
from proctor.edge import parse
from proctor.edge.faults import Faults
from proctor.edge.resources import Resource, resource
from proctor.edge.workqueue import Key

Json = dict[str, Any]
WAITING = {names.WAITING_FOR_TARGET, names.WAITING_FOR_BUDGET}


@dataclass
class Entry:
    """One custom resource. `spec` is kept as stored, to see what was dropped."""

    version: int
    body: Resource
    spec: Json


@dataclass
class Store:
    """The cluster as far as it concerns us. `changed` is told the key of every object that something happened to."""

    changed: Callable[[Key], None]
    _entries: dict[Key, Entry] = field(default_factory=dict)
    _run_by_uid: dict[str, Key] = field(default_factory=dict)
    _jobs: dict[str, dict[str, tuple[int, Job]]] = field(default_factory=lambda: defaultdict(dict))
    _pods: dict[str, dict[str, tuple[int, Pod]]] = field(default_factory=lambda: defaultdict(dict))
    _gone: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Pods, by run uid, that are no more but still count: see `drop_child`."""
    _live: dict[str, Job] = field(default_factory=dict)
    _runs_of: dict[tuple[str, str], set[Key]] = field(default_factory=lambda: defaultdict(set))
    _unfinished: set[Key] = field(default_factory=set)
    faults: Faults = field(default_factory=Faults)
    plans: dict[str, Plan] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    """Uids of runs that may have a plan though their status does not say so: one may have been killed in between."""
    reserved: dict[tuple[str, str], Claim] = field(default_factory=dict)
    """Claims of decisions that are being applied, by run uid and step."""

    def put(self, kind: str, raw: Json) -> None:
        """Take in a custom resource, unless a newer one is known."""
        meta = raw["metadata"]
        key = Key(kind, meta.get("namespace", ""), meta["name"])
        version = int(meta["resourceVersion"])
        old = self._entries.get(key)
        if old is not None and old.version >= version:
            return
        entry = Entry(version, resource(kind, raw), raw.get("spec") or {})
        self._entries[key] = entry
        self._index(key, entry, meta)
        self.changed(key)

    def drop(self, key: Key) -> None:
        """Forget a custom resource that is gone."""
        entry = self._entries.pop(key, None)
        self._unfinished.discard(key)
        if entry is None:
            return
        if isinstance(entry.body, ChaosExperiment):
            self._fault_changed(self.faults.drop(entry.body))
        if isinstance(entry.body, TestRun):
            uid = entry.body.metadata.uid
            self._forget_gone(uid)
            self._run_by_uid.pop(uid, None)
            self.plans.pop(uid, None)
            suite = self._suite_of(key, entry.body)
            if suite is not None:
                self._runs_of[suite].discard(key)
                self.changed(Key(names.TEST_SUITE, *suite))
            self.wake_waiting()

    def doubt_all(self) -> None:
        """Count all runs without a plan in status as doubtful: another process may have begun with them."""
        for key in self._unfinished:
            run = self._entries[key].body
            if isinstance(run, TestRun) and run.status.resolved is None:
                self.doubtful.add(run.metadata.uid)

    def get(self, key: Key) -> Entry | None:
        """Return a custom resource."""
        return self._entries.get(key)

    def runs_of(self, suite: Key) -> list[TestRun]:
        """Return the runs that name a suite."""
        bodies = (self._entries[key].body for key in self._runs_of[suite.namespace, suite.name])
        return [body for body in bodies if isinstance(body, TestRun)]

    def put_child(self, plural: str, raw: Json) -> None:
        """Take in a Job or pod of ours, unless a newer one is known."""
        version = int(raw["metadata"]["resourceVersion"])
        if plural == "jobs":
            job = parse.job(raw)
            if _newer(self._jobs[job.run_uid].get(job.uid), version):
                self._jobs[job.run_uid][job.uid] = (version, job)
                self._set_live(job)
        else:
            pod = parse.pod(raw)
            if _newer(self._pods[pod.run_uid].get(pod.uid), version):
                self._pods[pod.run_uid][pod.uid] = (version, pod)
        self._child_changed(raw)

    def drop_child(self, plural: str, raw: Json) -> None:
        """Forget a Job or pod that is gone.

        A pod of a run without a verdict is kept as it was last seen: a drain deletes pods, and what they reported,
        and how many they were, still counts.
        """
        uid, run_uid = raw["metadata"]["uid"], (raw["metadata"].get("labels") or {}).get(names.LABEL_RUN_UID, "")
        if plural == "pods" and self._run_by_uid.get(run_uid) in self._unfinished:
            known = self._pods[run_uid].get(uid)
            last = parse.pod(raw) if "status" in raw else (known[1] if known else None)
            if last is not None:
                self._pods[run_uid][uid] = (known[0] if known else 0, _gone(last))
                self._gone[run_uid].add(uid)
                self._child_changed(raw)
                return
        children: dict[str, Any] = self._jobs[run_uid] if plural == "jobs" else self._pods[run_uid]
        children.pop(uid, None)
        if plural == "jobs" and self._live.pop(uid, None) is not None:
            self.wake_waiting()
        if not self._jobs[run_uid] and not self._pods[run_uid]:
            del self._jobs[run_uid], self._pods[run_uid]
        self._child_changed(raw)

    def replace_children(self, plural: str, items: Iterable[Json], namespace: str | None, version: str) -> None:
        """Take in the full list of a namespace (None: all) as of `version`: what it lacks, and is older, is gone."""
        fresh = {raw["metadata"]["uid"]: raw for raw in items}
        known: dict[str, dict[str, tuple[int, Any]]] = self._jobs if plural == "jobs" else self._pods
        gone = [
            (run_uid, uid)
            for run_uid, children in known.items()
            for uid, (seen, child) in children.items()
            if uid not in fresh and seen <= int(version) and namespace in (None, child.namespace)
        ]
        for run_uid, uid in gone:
            self.drop_child(plural, {"metadata": {"uid": uid, "labels": {names.LABEL_RUN_UID: run_uid}}})
        for raw in fresh.values():
            self.put_child(plural, raw)

    def jobs(self, run_uid: str) -> tuple[Job, ...]:
        """Return the Jobs of a run."""
        return tuple(job for _, job in self._jobs.get(run_uid, {}).values())

    def pods(self, run_uid: str) -> tuple[Pod, ...]:
        """Return the pods of a run."""
        return tuple(pod for _, pod in self._pods.get(run_uid, {}).values())

    def held(self) -> tuple[Claim, ...]:
        """Return the claims of live Jobs whose step has not ended, and of decisions that are being applied."""
        claims = dict(self.reserved)
        for job in self._live.values():
            if job.role == names.ROLE_STEP and not self._step_ended(job):
                claim = Claim(
                    job.run_uid, job.step, job.target, job.exclusive, job.pods, job.created, job.target_namespace
                )
                claims[job.run_uid, job.step] = claim
        return tuple(claims.values())

    def awaited(self) -> tuple[Claim, ...]:
        """Return the claims of steps that wait for their turn."""
        claims = []
        for key in self._unfinished:
            run = self._entries[key].body
            if not isinstance(run, TestRun) or run.metadata.uid not in self.plans:
                continue
            for step in run.status.steps:
                if step.verdict is None and step.reason in WAITING and run.metadata.creation_timestamp is not None:
                    target = target_key(run, self.plans[run.metadata.uid].spec)
                    since = run.metadata.creation_timestamp
                    claims.append(Claim(run.metadata.uid, step.name, target, step.exclusive, step.pods, since))
        return tuple(claims)

    def wake_waiting(self) -> None:
        """Have all runs looked at that wait for their turn."""
        for key in self._unfinished:
            run = self._entries[key].body
            if isinstance(run, TestRun) and any(s.verdict is None and s.reason in WAITING for s in run.status.steps):
                self.changed(key)

    @property
    def live_runs(self) -> int:
        """How many runs have no verdict."""
        return len(self._unfinished)

    def _index(self, key: Key, entry: Entry, meta: Json) -> None:
        run = entry.body
        if isinstance(run, ChaosExperiment):
            self._fault_changed(self.faults.put(run))
        if key.kind != names.TEST_RUN:
            if key.kind == names.TEST_SUITE:
                for waiting in self._runs_of[key.namespace, key.name] & self._unfinished:
                    self.changed(waiting)
            return
        self._run_by_uid[meta["uid"]] = key
        if not isinstance(run, TestRun):
            return
        suite = self._suite_of(key, run)
        if suite is not None:
            self._runs_of[suite].add(key)
            self.changed(Key(names.TEST_SUITE, *suite))
        if run.status.verdict is None:
            self._unfinished.add(key)
        else:
            entry.spec = {}
            self.plans.pop(run.metadata.uid, None)
            self._forget_gone(run.metadata.uid)
            self._unfinished.discard(key)
        if any(step.verdict is not None for step in run.status.steps):
            self.wake_waiting()

    def _fault_changed(self, run_uid: str) -> None:
        """Have the run looked at that a fault belongs to, and those that may wait for its end."""
        if key := self._run_by_uid.get(run_uid):
            self.changed(key)
        self.wake_waiting()

    def _suite_of(self, key: Key, run: TestRun) -> tuple[str, str] | None:
        return (key.namespace, run.spec.suite_ref.name) if run.spec.suite_ref else None

    def _forget_gone(self, run_uid: str) -> None:
        for uid in self._gone.pop(run_uid, ()):
            self._pods[run_uid].pop(uid, None)

    def _set_live(self, job: Job) -> None:
        if job.live:
            self._live[job.uid] = job
        elif self._live.pop(job.uid, None) is not None:
            self.wake_waiting()

    def _step_ended(self, job: Job) -> bool:
        key = self._run_by_uid.get(job.run_uid)
        run = self._entries[key].body if key else None
        if not isinstance(run, TestRun):
            return False
        return run.status.verdict is not None or any(
            step.name == job.step and step.verdict is not None for step in run.status.steps
        )

    def _child_changed(self, raw: Json) -> None:
        run_uid = (raw["metadata"].get("labels") or {}).get(names.LABEL_RUN_UID, "")
        if key := self._run_by_uid.get(run_uid):
            self.changed(key)


def _gone(pod: Pod) -> Pod:
    """Return a pod that is no more. If it had not ended, nobody will ever say how it did."""
    if pod.ended:
        return replace(pod, deleting=True)
    end = pod.ended_at or datetime.now(UTC).replace(microsecond=0)
    return replace(pod, phase="Failed", disrupted=pod.disrupted or "Deleted", deleting=True, ended_at=end)


def _newer(known: tuple[int, Any] | None, version: int) -> bool:
    return known is None or known[0] < version
