"""The only reader: from the store and, where that is not enough, from the API server to what core decides from."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from proctor.api import names
from proctor.api.testrun import TestRun
from proctor.api.testsuite import TestSuite
from proctor.core import jobs
from proctor.core import plan as plans
from proctor.core.observed import (
    AskJob,
    AskPodRefusal,
    AskTarget,
    ObservedRun,
    ObservedSuite,
    Question,
    Refusal,
    Workload,
)
from proctor.edge import parse
from proctor.edge.client import ApiError, Client, Json
from proctor.edge.store import Entry, Store
from proctor.edge.workqueue import Key

WORKLOADS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}


def now() -> datetime:
    """Return the present, to the second: that is what the API server keeps."""
    return datetime.now(UTC).replace(microsecond=0)


class Observer:
    """Reads for decisions. `refusals` remembers which Jobs the API server would not take, by Job name."""

    def __init__(self, client: Client, store: Store, budget: int, runner_image: str) -> None:
        self._client = client
        self._store = store
        self._budget = budget
        self._runner_image = runner_image
        self.refusals: dict[str, dict[str, Refusal]] = {}

    async def run(self, key: Key, entry: Entry, run: TestRun) -> ObservedRun:
        """Return what is known about a TestRun, but for its rivals (see `beside`)."""
        uid = run.metadata.uid
        plan, gone = self._store.plans.get(uid), False
        planned = run.status.resolved is not None
        if plan is None and run.status.verdict is None and (planned or uid in self._store.doubtful):
            try:
                stored = await self._client.get("configmaps", key.namespace, jobs.child_name(run, "plan"))
                plan = self.remember_plan(uid, stored)
            except ValueError:
                gone = planned
            except ApiError as error:
                if error.status != 404:
                    raise
                gone = planned
            self._store.doubtful.discard(uid)
        suite = None
        if run.spec.suite_ref is not None:
            found = self._store.get(Key(names.TEST_SUITE, key.namespace, run.spec.suite_ref.name))
            suite = found.body if found and isinstance(found.body, TestSuite) else None
        return ObservedRun(
            run=run,
            now=now(),
            raw_spec=entry.spec,
            suite=suite,
            plan=plan,
            plan_gone=gone,
            refusals=self.refusals.get(uid, {}),
            budget=self._budget,
        )

    def beside(self, seen: ObservedRun) -> ObservedRun:
        """Return `seen` with its children and its rivals' claims as of this moment."""
        uid = seen.run.metadata.uid
        where = jobs.target_namespace(seen.run, seen.plan.spec) if seen.plan else seen.run.metadata.namespace
        return replace(
            seen,
            jobs=self._store.jobs(uid),
            pods=self._store.pods(uid),
            held=self._store.held(),
            awaited=self._store.awaited(),
            faults=self._store.faults.on(where),
            experiments=self._store.faults.of_run(uid),
        )

    def suite(self, key: Key, entry: Entry, suite: TestSuite) -> ObservedSuite:
        """Return what is known about a TestSuite."""
        return ObservedSuite(suite=suite, now=now(), runs=tuple(self._store.runs_of(key)), raw_spec=entry.spec)

    def remember_plan(self, run_uid: str, config_map: Json) -> plans.Plan:
        """Keep and return the plan in a ConfigMap. Raises ValueError when it is not one that we can read."""
        if not owned(config_map, run_uid):
            raise ValueError("it belongs to someone else")
        try:
            plan = plans.load(json.loads(config_map["data"][names.PLAN_KEY]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"no plan: {error}") from error
        self._store.plans[run_uid] = plan
        return plan

    async def answer_run(self, seen: ObservedRun, questions: frozenset[Question]) -> ObservedRun:
        """Return `seen` with the questions answered."""
        namespace = seen.run.metadata.namespace
        for question in questions:
            match question:
                case AskTarget():
                    spec = seen.plan.spec if seen.plan else (seen.run.spec.suite or (seen.suite and seen.suite.spec))
                    assert spec, "a target is asked for when its suite is known"
                    assert spec.target.selector, "only a target with a selector is asked for"
                    found = await self._target(spec.target.namespace or namespace, spec.target.selector.match_labels)
                    seen = replace(seen, target=found)
                case AskJob(name):
                    exists = await self._exists(namespace, name)
                    seen = (
                        replace(seen, present=seen.present | {name})
                        if exists
                        else replace(seen, gone=seen.gone | {name})
                    )
                case AskPodRefusal(name):
                    refusal = await self._pod_refusal(namespace, name)
                    seen = replace(seen, pod_refusals={**seen.pod_refusals, name: refusal})
                case _:
                    raise AssertionError(f"a run does not ask {question}")
        return seen

    async def answer_suite(self, seen: ObservedSuite, questions: frozenset[Question]) -> ObservedSuite:
        """Return `seen` with the questions answered."""
        spec, namespace = seen.suite.spec, seen.suite.metadata.namespace
        for question in questions:
            match question:
                case AskTarget():
                    assert spec.target.selector, "only a target with a selector is asked for"
                    where = spec.target.namespace or namespace
                    seen = replace(seen, target=await self._target(where, spec.target.selector.match_labels))
                case AskPodRefusal():
                    seen = replace(seen, dry_run=await self._dry_run(seen.suite))
                case _:
                    raise AssertionError(f"a suite does not ask {question}")
        return seen

    async def _target(self, namespace: str, labels: Mapping[str, str]) -> tuple[Workload, ...]:
        found = []
        for kind, plural in WORKLOADS.items():
            items, _ = await self._client.list(plural, namespace, parse.selector({"matchLabels": labels}))
            for raw in items:
                query = parse.selector(raw["spec"]["selector"])
                pods, _ = await self._client.list("pods", namespace, query) if query else ([], "")
                found.append(parse.workload(kind, raw, pods))
        return tuple(sorted(found, key=lambda workload: (workload.kind, workload.name)))

    async def _exists(self, namespace: str, name: str) -> bool:
        try:
            self._store.put_child("jobs", await self._client.get("jobs", namespace, name))
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def _pod_refusal(self, namespace: str, job_name: str) -> Refusal | None:
        job = await self._client.get("jobs", namespace, job_name)
        template = job["spec"]["template"]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**template["metadata"], "generateName": f"{job_name}-"},
            "spec": template["spec"],
        }
        try:
            await self._client.create("pods", namespace, pod, dry_run=True)
        except ApiError as error:
            if error.final:
                return refusal_of(error)
            raise
        return None

    async def _dry_run(self, suite: TestSuite) -> tuple[str, ...]:
        """Ask the API server whether it would take the suite's Jobs; return what it said against them."""
        stand_in = TestRun.model_validate(
            {
                "apiVersion": names.API_VERSION,
                "kind": names.TEST_RUN,
                "metadata": suite.metadata.model_dump(exclude={"labels", "annotations", "resource_version"}),
                "spec": {"suiteRef": {"name": suite.metadata.name}},
            }
        )
        plan = plans.make(stand_in, suite, now().date())
        problems = []
        for index, step in enumerate(plan.spec.steps):
            manifest = jobs.step_job(stand_in, plan, step, self._runner_image, None)
            try:
                await self._client.create("jobs", suite.metadata.namespace, manifest, dry_run=True)
            except ApiError as error:
                if not error.final:
                    raise
                if not refusal_of(error).quota:
                    problems.append(f"spec.steps[{index}]: its Job would be refused: {error.message}")
        return tuple(problems)


def owned(raw: Json, uid: str) -> bool:
    """Return whether the object with this uid owns `raw`."""
    return any(owner["uid"] == uid for owner in raw["metadata"].get("ownerReferences") or [])


def refusal_of(error: ApiError) -> Refusal:
    """Return what a refused create means."""
    return Refusal(error.message, quota=error.status == 403 and "exceeded quota" in error.message)
