"""One way through, for every key: observe, decide, apply."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from proctor.api import names
from proctor.api.base import StatusModel
from proctor.api.chaos import ChaosExperiment, ChaosExperimentStatus
from proctor.api.testrun import TestRun, TestRunStatus
from proctor.api.testsuite import TestSuite
from proctor.core import lifecycle, refusal, suites
from proctor.core.actions import CreateJob, Decision
from proctor.core.chaos import ladder
from proctor.core.chaos.observed import ObservedExperiment
from proctor.core.observed import Claim, ObservedRun, Question
from proctor.edge.apply import LookAgain, Writer
from proctor.edge.experiments import Experiments
from proctor.edge.observe import Observer, now
from proctor.edge.store import Entry, Store
from proctor.edge.workqueue import Key

MAX_ROUNDS = 4
"""Rounds of questions in one pass; each asks for something new, so more would be a defect."""
Seen = TypeVar("Seen")
S = TypeVar("S", bound=StatusModel)
log = logging.getLogger(__name__)


class Reconciler:
    """Brings one object a step further."""

    def __init__(
        self, store: Store, observer: Observer, experiments: Experiments, writer: Writer, runner_image: str
    ) -> None:
        self._store = store
        self._observer = observer
        self._experiments = experiments
        self._writer = writer
        self._runner_image = runner_image

    async def reconcile(self, key: Key) -> float | None:
        """Make one pass over `key`; return in how many seconds to look again, if at all.

        Raises ApiError when the API server is at fault; the queue repeats the pass.
        """
        entry = self._store.get(key)
        if entry is None:
            return None
        try:
            if isinstance(entry.body, TestRun):
                return await self._run(key, entry, entry.body)
            if isinstance(entry.body, TestSuite):
                return await self._suite(key, entry, entry.body)
            if isinstance(entry.body, ChaosExperiment):
                return await self._experiment(key, entry, entry.body)
            refused = entry.body
            verdict = refusal.decide(
                refused.status, refused.metadata.generation, refused.reason, refused.message, now()
            )
            await self._writer.apply(refused, verdict)
            return None
        except LookAgain as reason:
            log.debug("%s %s/%s: looking again: %s", *key, reason)
            return 0.05

    async def _run(self, key: Key, entry: Entry, run: TestRun) -> float | None:
        seen = await self._observer.run(key, entry, run)

        def decide(seen: ObservedRun) -> Decision[TestRunStatus]:
            return lifecycle.decide(self._observer.beside(seen), self._runner_image)

        decision = await _decided(key, seen, decide, self._observer.answer_run)
        # Nothing is waited for between the last look at the rivals' claims and this reservation: that is the lock.
        reserved = self._reserve(seen, decision)
        try:
            await self._writer.apply(run, decision)
        finally:
            for claim in reserved:
                self._store.reserved.pop((claim.run_uid, claim.step), None)
        return _seconds(decision.look_again)

    def _reserve(self, seen: ObservedRun, decision: Decision[TestRunStatus]) -> list[Claim]:
        claims = []
        for action in decision.actions:
            if isinstance(action, CreateJob):
                labels = action.manifest["metadata"]["labels"]
                if labels[names.LABEL_ROLE] != names.ROLE_STEP:
                    continue
                claim = Claim(
                    run_uid=seen.run.metadata.uid,
                    step=labels[names.LABEL_STEP],
                    target=labels[names.LABEL_TARGET],
                    exclusive=labels.get(names.LABEL_EXCLUSIVE) == "true",
                    namespace=labels.get(names.LABEL_TARGET_NAMESPACE, ""),
                    pods=action.manifest["spec"]["parallelism"],
                    since=seen.now,
                )
                self._store.reserved[claim.run_uid, claim.step] = claim
                claims.append(claim)
        return claims

    async def _suite(self, key: Key, entry: Entry, suite: TestSuite) -> float | None:
        seen = self._observer.suite(key, entry, suite)
        decision = await _decided(key, seen, suites.decide, self._observer.answer_suite)
        await self._writer.apply(suite, decision)
        return _seconds(decision.look_again)

    async def _experiment(self, key: Key, entry: Entry, experiment: ChaosExperiment) -> float | None:
        seen = await self._experiments.observe(entry, experiment)
        uid, reserved = experiment.metadata.uid, self._store.faults.reserved

        def decide(seen: ObservedExperiment) -> Decision[ChaosExperimentStatus]:
            seen = self._experiments.beside(seen)
            # No await between the look at the rivals and this: that is the lock. It is held over a question.
            if not seen.rival:
                reserved.add(uid)
            return ladder.decide(seen, self._runner_image)

        try:
            decision = await _decided(key, seen, decide, self._experiments.answer)
            await self._writer.apply(experiment, decision)
        finally:
            reserved.discard(uid)
        return _seconds(decision.look_again)


async def _decided(
    key: Key,
    seen: Seen,
    decide: Callable[[Seen], Decision[S]],
    answer: Callable[[Seen, frozenset[Question]], Awaitable[Seen]],
) -> Decision[S]:
    """Return the decision that asks nothing more. Nothing is awaited after the call of `decide` that gave it."""
    for _ in range(MAX_ROUNDS):
        decision = decide(seen)
        if not decision.questions:
            return decision
        seen = await answer(seen, decision.questions)
    raise AssertionError(f"{key}: decide still asks after {MAX_ROUNDS} rounds: {decision.questions}")


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else max(0.05, (at - now()).total_seconds())
