"""Reading and doing for ChaosExperiments.

An experiment is short and rare, so its world is read anew in each pass instead of being watched: what a fault has done
is never judged from a cache.
"""

from dataclasses import replace
from typing import Any

from proctor.api import names
from proctor.api.chaos import ChaosExperiment
from proctor.api.scalars import Driver, Fault
from proctor.core.actions import (
    AddAgent,
    ChaosAction,
    CreateMeshFault,
    CreatePod,
    DeleteMeshFault,
    DeletePod,
    KillPod,
    SetFinalizer,
)
from proctor.core.chaos import manifests
from proctor.core.chaos.observed import MeshFault, ObservedExperiment, TargetPod, Workload
from proctor.core.observed import AskInjection, Question
from proctor.edge import parse, targets
from proctor.edge.client import ApiError, Client, Json
from proctor.edge.observe import WORKLOADS, now, owned
from proctor.edge.store import Entry, Store
from proctor.edge.workqueue import Key

MESH = {"NetworkChaos": "networkchaos", "PodChaos": "podchaos"}


class Experiments:
    """Reads what an experiment's decisions need, and carries out what they ask for."""

    def __init__(self, client: Client, store: Store) -> None:
        self._client = client
        self._store = store
        self._began = now()
        self._failed: dict[str, str] = {}
        """What the API server said against an injection, by the experiment's uid."""

    async def observe(self, entry: Entry, experiment: ChaosExperiment) -> ObservedExperiment:
        """Return the world of an experiment as the API server has it now."""
        meta = experiment.metadata
        seen = ObservedExperiment(experiment=experiment, now=now(), raw_spec=entry.spec)
        if experiment.status.verdict is not None and names.FINALIZER not in meta.finalizers:
            self._failed.pop(meta.uid, None)
            return seen
        try:
            raw = await self._client.get("namespaces", "", meta.namespace)
        except ApiError as error:
            if error.status not in (403, 404):
                raise
            return seen
        # Before what they change: a pod that says that it has scaled back must not be seen beside a scale of before.
        own, _ = await self._client.list("pods", meta.namespace, f"{names.LABEL_EXPERIMENT_UID}={meta.uid}")
        selector, workload = await self._target(experiment)
        pods = await self._pods(experiment, selector)
        return replace(
            seen,
            now=now(),
            surroundings=targets.surroundings(raw),
            pods=pods,
            workload=workload,
            helpers={raw["metadata"]["labels"][names.LABEL_ROLE]: targets.helper_pod(raw) for raw in own},
            mesh=await self._mesh(experiment),
            failed=self._failed.get(meta.uid, ""),
            began=self._began,
        )

    def beside(self, seen: ObservedExperiment) -> ObservedExperiment:
        """Return `seen` with what must end first, as of this moment."""
        return replace(seen, rival=self._store.faults.rival_of(seen.experiment, self._store.held()))

    async def answer(self, seen: ObservedExperiment, questions: frozenset[Question]) -> ObservedExperiment:
        """Return `seen` with the word of the API server about a dry run of the injection."""
        (question,) = questions
        assert isinstance(question, AskInjection), "an experiment asks nothing else"
        for action in question.actions:
            try:
                await self.act(seen.experiment, action, dry_run=True)  # type: ignore[arg-type]
            except ApiError as error:
                if not error.final and error.status != 429:
                    raise
                return replace(seen, refusal=error.message or str(error))
        return replace(seen, refusal="")

    async def act(self, experiment: ChaosExperiment, action: ChaosAction, *, dry_run: bool = False) -> None:
        """Carry out an action. Each may be repeated. Raises ApiError."""
        namespace = experiment.metadata.namespace
        match action:
            case CreatePod(manifest):
                await self._create(experiment, "pods", manifest, dry_run=dry_run)
            case DeletePod(name, uid):
                await self._gone_is_fine(self._client.delete("pods", namespace, name, uid))
            case AddAgent(pod, uid, container):
                body = {"metadata": {"uid": uid}, "spec": {"ephemeralContainers": [container]}}
                await self._client.add("pods", namespace, pod, body, part="ephemeralcontainers", dry_run=dry_run)
            case KillPod(name, uid, evict, grace):
                await self._kill(namespace, name, uid, evict=evict, grace=grace, dry_run=dry_run)
            case CreateMeshFault(manifest):
                await self._create(experiment, MESH[manifest["kind"]], manifest, dry_run=dry_run)
            case DeleteMeshFault(kind, name):
                found = await self._read(MESH[kind], namespace, name)
                if found is not None:
                    await self._gone_is_fine(self._client.delete(MESH[kind], namespace, name, found["metadata"]["uid"]))
            case SetFinalizer(present):
                await self._set_finalizer(experiment, present=present)

    def refused(self, experiment: ChaosExperiment, message: str) -> None:
        """Remember that the API server would not take the injection."""
        self._failed[experiment.metadata.uid] = message

    async def _target(self, experiment: ChaosExperiment) -> tuple[str, Workload | None]:
        """Return the label selector of the pods that could be hit ("" for none), and the workload that is named."""
        spec, namespace = experiment.spec, experiment.metadata.namespace
        if spec.selector is not None:
            return parse.selector({"matchLabels": spec.selector.match_labels}), None
        reference = spec.target_ref
        if reference is None or reference.kind == "Pod":
            return "", None
        raw = await self._read(WORKLOADS[reference.kind], namespace, reference.name)
        if raw is None:
            return "", None
        # Only the choice of targets asks for it; later passes are many, and soon after each other.
        choosing = spec.fault is Fault.OUTAGE and not experiment.status.targets
        autoscaler = await self._autoscaler(experiment) if choosing else ""
        workload = Workload(reference.kind, reference.name, raw["spec"].get("replicas", 1), autoscaler)
        return parse.selector(raw["spec"]["selector"]), workload

    async def _pods(self, experiment: ChaosExperiment, selector: str) -> tuple[TargetPod, ...]:
        reference, namespace = experiment.spec.target_ref, experiment.metadata.namespace
        if reference is not None and reference.kind == "Pod":
            raw = await self._read("pods", namespace, reference.name)
            return (targets.target_pod(raw),) if raw else ()
        if not selector:
            return ()
        found, _ = await self._client.list("pods", namespace, selector)
        over = ("Succeeded", "Failed")
        return tuple(targets.target_pod(raw) for raw in found if (raw.get("status") or {}).get("phase") not in over)

    async def _autoscaler(self, experiment: ChaosExperiment) -> str:
        reference = experiment.spec.target_ref
        found, _ = await self._client.list("horizontalpodautoscalers", experiment.metadata.namespace)
        for raw in found:
            scaled = raw["spec"]["scaleTargetRef"]
            if reference and (scaled["kind"], scaled["name"]) == (reference.kind, reference.name):
                return str(raw["metadata"]["name"])
        return ""

    async def _mesh(self, experiment: ChaosExperiment) -> MeshFault | None:
        spec = experiment.spec
        if spec.driver is not Driver.CHAOS_MESH or not experiment.status.targets:
            return None
        plural, name = MESH[manifests.mesh_kind(experiment)], manifests.child_name(experiment, "fault")
        raw = await self._read(plural, experiment.metadata.namespace, name)
        return targets.mesh_fault(raw) if raw else None

    async def _create(self, experiment: ChaosExperiment, plural: str, manifest: Any, *, dry_run: bool) -> None:
        namespace = experiment.metadata.namespace
        try:
            await self._client.create(plural, namespace, manifest, dry_run=dry_run)
        except ApiError as error:
            if error.status != 409:
                raise
            stored = await self._read(plural, namespace, manifest["metadata"]["name"])
            if stored is not None and not owned(stored, experiment.metadata.uid):
                raise ApiError(422, "NameTaken", f"{stored['metadata']['name']} belongs to someone else") from None

    async def _kill(self, namespace: str, name: str, uid: str, *, evict: bool, grace: int, dry_run: bool) -> None:
        if not evict:
            await self._gone_is_fine(self._client.delete("pods", namespace, name, uid, grace=grace, dry_run=dry_run))
            return
        options = {"preconditions": {"uid": uid}, "gracePeriodSeconds": grace}
        if dry_run:
            options["dryRun"] = ["All"]
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": options,
        }
        await self._gone_is_fine(self._client.create("pods", namespace, body, part="eviction", dry_run=dry_run))

    async def _set_finalizer(self, experiment: ChaosExperiment, *, present: bool) -> None:
        others = [name for name in experiment.metadata.finalizers if name != names.FINALIZER]
        body = {
            "metadata": {
                "resourceVersion": experiment.metadata.resource_version,
                "finalizers": [*others, names.FINALIZER] if present else others,
            }
        }
        meta = experiment.metadata
        stored = await self._client.merge("chaosexperiments", meta.namespace, meta.name, body)
        if "deletionTimestamp" in stored["metadata"] and not stored["metadata"].get("finalizers"):
            # It is gone with that, and its deletion may have been announced before this answer.
            self._store.drop(Key(names.CHAOS_EXPERIMENT, meta.namespace, meta.name))
        else:
            self._store.put(names.CHAOS_EXPERIMENT, stored)

    async def _read(self, plural: str, namespace: str, name: str) -> Json | None:
        try:
            return await self._client.get(plural, namespace, name)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def _gone_is_fine(self, request: Any) -> None:
        try:
            await request
        except ApiError as error:
            if error.status not in (404, 409):
                raise
