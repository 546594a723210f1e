"""The only writer: carries out a decision's actions, then writes the status once, then tells of it in Events.

Every action may be repeated: after a crash the same decision is made and applied again.
"""

import logging
from dataclasses import replace
from typing import Any

from proctor.api import names
from proctor.api.chaos import ChaosExperiment
from proctor.api.testrun import TestRun
from proctor.core import conditions
from proctor.core.actions import (
    AbortExperiment,
    AbortRun,
    Action,
    ChaosAction,
    CreateExperiment,
    CreateJob,
    CreatePlan,
    CreateRun,
    Decision,
    DeleteJob,
    DeleteRun,
    SetFinalizer,
)
from proctor.core.observed import Refusal
from proctor.edge import metrics
from proctor.edge.client import ApiError, Client
from proctor.edge.experiments import Experiments
from proctor.edge.observe import Observer, now, owned, refusal_of
from proctor.edge.recorder import Recorder
from proctor.edge.resources import Resource
from proctor.edge.store import Store
from proctor.edge.workqueue import Key

log = logging.getLogger(__name__)


class LookAgain(Exception):
    """The world is not what the decision was made from. Not an error: observe and decide anew."""


class Writer:
    """Writes decisions."""

    def __init__(
        self, client: Client, store: Store, observer: Observer, experiments: Experiments, recorder: Recorder
    ) -> None:
        self._client = client
        self._experiments = experiments
        self._store = store
        self._observer = observer
        self._recorder = recorder

    async def apply(self, resource: Resource, decision: Decision[Any]) -> None:
        """Carry out a decision about `resource`.

        Raises LookAgain when the world has moved on, ApiError when the API server could not be persuaded.
        """
        for action in decision.actions:
            await self._act(resource, action)
        if decision.status != resource.status:
            await self._write_status(resource, decision)
        for event in decision.events:
            self._recorder.tell(resource, event)

    async def _act(self, resource: Resource, action: Action) -> None:
        namespace = resource.metadata.namespace
        match action:
            case CreatePlan(manifest):
                await self._create_plan(resource, manifest)
            case CreateJob(manifest):
                await self._create_job(resource, manifest)
            case DeleteJob(name, uid):
                await self._delete("jobs", namespace, name, uid)
            case CreateRun(manifest):
                try:
                    self._store.put(names.TEST_RUN, await self._client.create("testruns", namespace, manifest))
                except ApiError as error:
                    if error.status != 409:
                        raise
            case DeleteRun(name, uid):
                await self._delete("testruns", namespace, name, uid)
            case AbortRun(name):
                await self._client.merge("testruns", namespace, name, {"spec": {"abort": True}})
            case CreateExperiment(manifest):
                await self._create_experiment(resource, manifest)
            case AbortExperiment(where, name):
                await self._abort_experiment(where, name)
            case _:
                assert isinstance(resource, ChaosExperiment), "the other actions are those of an experiment"
                await self._act_on_target(resource, action)

    async def _create_experiment(self, run: Resource, manifest: Any) -> None:
        try:
            created = await self._client.create("chaosexperiments", manifest["metadata"]["namespace"], manifest)
            self._store.put(names.CHAOS_EXPERIMENT, created)
        except ApiError as error:
            if error.final:
                self._refuse(run, manifest["metadata"]["name"], refusal_of(error))
                raise LookAgain(error.message) from None
            if error.status != 409:
                raise

    async def _abort_experiment(self, namespace: str, name: str) -> None:
        try:
            await self._client.merge("chaosexperiments", namespace, name, {"spec": {"abort": True}})
        except ApiError as error:
            if error.status != 404:
                raise
            self._store.drop(Key(names.CHAOS_EXPERIMENT, namespace, name))

    async def _act_on_target(self, experiment: ChaosExperiment, action: ChaosAction) -> None:
        try:
            await self._experiments.act(experiment, action)
        except ApiError as error:
            if isinstance(action, SetFinalizer) and error.status in (404, 409):
                if error.status == 404:
                    self._store.drop(Key(experiment.kind, experiment.metadata.namespace, experiment.metadata.name))
                raise LookAgain(error.message) from None
            injected = conditions.get(experiment.status.conditions, names.INJECTED)
            injects = injected is not None and injected.reason in (names.SELECTED, names.INJECTING)
            # 429 is a PodDisruptionBudget's no. What heals is tried again, ever more slowly, until its time is over.
            if not injects or not (error.final or error.status == 429):
                raise
            self._experiments.refused(experiment, error.message or str(error))
            raise LookAgain(error.message) from None

    async def _create_plan(self, run: Resource, manifest: Any) -> None:
        namespace, name = run.metadata.namespace, manifest["metadata"]["name"]
        try:
            self._observer.remember_plan(run.metadata.uid, await self._client.create("configmaps", namespace, manifest))
        except (OSError, TimeoutError):
            self._store.doubtful.add(run.metadata.uid)
            raise
        except ApiError as error:
            if error.final:
                self._refuse(run, name, refusal_of(error))
                raise LookAgain(error.message) from None
            if error.status != 409:
                self._store.doubtful.add(run.metadata.uid)
                raise
            stored = await self._client.get("configmaps", namespace, name)
            # Made before a crash, perhaps from an older suite: that plan counts.
            try:
                self._observer.remember_plan(run.metadata.uid, stored)
            except ValueError as unreadable:
                self._refuse(run, name, Refusal(f"it exists, but {unreadable}", quota=False))
            raise LookAgain(f"plan {name} exists") from None

    async def _create_job(self, run: Resource, manifest: Any) -> None:
        namespace, name = run.metadata.namespace, manifest["metadata"]["name"]
        try:
            self._store.put_child("jobs", await self._client.create("jobs", namespace, manifest))
            self._observer.refusals.get(run.metadata.uid, {}).pop(name, None)
        except ApiError as error:
            if error.status == 409:
                stored = await self._client.get("jobs", namespace, name)
                if owned(stored, run.metadata.uid):
                    self._store.put_child("jobs", stored)
                    return
                refusal = Refusal(f"Job {name} exists and belongs to someone else", quota=False)
            elif error.final:
                refusal = refusal_of(error)
            else:
                raise
            self._refuse(run, name, refusal)
            if not refusal.quota:
                raise LookAgain(refusal.message) from None
            log.info("Job %s waits for quota: %s", name, refusal.message)

    def _refuse(self, run: Resource, name: str, refusal: Refusal) -> None:
        """Remember what the API server would not take, and since when."""
        known = self._observer.refusals.setdefault(run.metadata.uid, {})
        known[name] = replace(refusal, since=known[name].since if name in known else now())

    async def _delete(self, plural: str, namespace: str, name: str, uid: str) -> None:
        try:
            await self._client.delete(plural, namespace, name, uid)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            if error.status == 404 and plural == names.PLURALS[names.TEST_RUN]:
                self._store.drop(Key(names.TEST_RUN, namespace, name))

    async def _write_status(self, resource: Resource, decision: Decision[Any]) -> None:
        meta = resource.metadata
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": meta.name, "namespace": meta.namespace, "resourceVersion": meta.resource_version},
            "status": _document(decision.status),
        }
        try:
            stored = await self._client.replace(names.PLURALS[resource.kind], meta.namespace, body, part="status")
        except ApiError as error:
            if error.status == 404:
                # Its deletion was never announced to us, as when a watch was broken.
                self._store.drop(Key(resource.kind, meta.namespace, meta.name))
            if error.status in (404, 409):
                raise LookAgain(error.message) from None
            raise
        self._store.put(resource.kind, stored)
        _count(resource, decision)


def _document(status: Any) -> Any:
    """Return a status as it is stored: what says nothing is left out, but a run always shows its counts."""
    value = status.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    for name in ("counts", "progress"):
        if hasattr(status, name):
            value[name] = getattr(status, name).model_dump(by_alias=True)
    return value


def _count(resource: Resource, decision: Decision[Any]) -> None:
    if isinstance(resource, ChaosExperiment) and decision.status.verdict and resource.status.verdict is None:
        fault, verdict = resource.spec.fault.value, decision.status.verdict.value
        metrics.experiment_finished(fault, verdict, decision.status.reason)
    if isinstance(resource, TestRun) and decision.status.verdict is not None and resource.status.verdict is None:
        began = decision.status.started_at or decision.status.finished_at
        seconds = (decision.status.finished_at - began).total_seconds()
        metrics.run_finished(decision.status.verdict.value, decision.status.reason, seconds)
