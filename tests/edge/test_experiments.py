"""What the writer does for an experiment, and what each refusal of the API server means there.

The client is a small API server in memory that notes every call: it stands for the world outside.
"""

from collections.abc import Callable
from typing import Any

import pytest

from builders import RUN_UID, RUNNER_IMAGE, T0, a_spec
from core.faultworld import UID, an_experiment
from proctor.api import names
from proctor.api.base import Condition
from proctor.core.actions import AddAgent, CreateExperiment, CreatePod, Decision, KillPod, SetFinalizer
from proctor.core.chaos.observed import ObservedExperiment
from proctor.core.observed import AskInjection
from proctor.edge.apply import LookAgain, Writer
from proctor.edge.client import ApiError
from proctor.edge.experiments import Experiments
from proctor.edge.observe import Observer
from proctor.edge.recorder import Recorder
from proctor.edge.store import Store
from proctor.edge.workqueue import Key

KEY = Key(names.CHAOS_EXPERIMENT, "default", "cut")
POD = {"metadata": {"name": "proctor-observer-1", "ownerReferences": [{"uid": UID}]}}
KILL = KillPod("shop-0", "u0", evict=True)


class Api:
    """Notes calls; `answer` tells what comes back, or raises."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any, dict[str, Any]]] = []
        self.answer: Callable[[str, str, Any], Any] = lambda verb, plural, body: body

    def __getattr__(self, verb: str) -> Any:
        async def call(plural: str, namespace: str, *rest: Any, **options: Any) -> Any:
            body = next((one for one in rest if isinstance(one, dict)), {})
            self.calls.append((verb, plural, body, options))
            return self.answer(verb, plural, body)

        return call


class World:
    def __init__(self, reason: str = names.INJECTING, **meta: Any) -> None:
        self.api, self.store = Api(), Store(lambda _: None)
        told = [
            Condition(type=names.INJECTED, status="Unknown", reason=reason, last_transition_time="2026-03-02T09:00Z")
        ]
        self.body = an_experiment().model_dump(mode="json", by_alias=True, exclude_none=True)
        self.body["metadata"] |= {"resourceVersion": "5", **meta}
        self.body["status"] = {"conditions": [one.model_dump(mode="json", by_alias=True) for one in told]}
        self.store.put(names.CHAOS_EXPERIMENT, self.body)
        client: Any = self.api
        self.experiments = Experiments(client, self.store)
        observer = Observer(client, self.store, 50, RUNNER_IMAGE)
        self.observer = observer
        self.writer = Writer(client, self.store, observer, self.experiments, Recorder(client))

    @property
    def experiment(self) -> Any:
        entry = self.store.get(KEY)
        assert entry is not None
        return entry.body

    async def do(self, *actions: Any) -> None:
        await self.writer.apply(self.experiment, Decision(self.experiment.status, actions))

    def refuse(self, status: int, message: str = "no", verb: str = "") -> None:
        def answer(asked: str, plural: str, body: Any) -> Any:
            if verb in ("", asked):
                raise ApiError(status, "Odd", message)
            return body

        self.api.answer = answer


async def test_a_finalizer_is_set_on_what_was_seen_and_kept_beside_others() -> None:
    world = World(finalizers=["other"])
    world.api.answer = lambda *_: {**world.body, "metadata": {**world.body["metadata"], "resourceVersion": "6"}}
    await world.do(SetFinalizer(True))
    ((verb, plural, body, _),) = world.api.calls
    assert (verb, plural) == ("merge", "chaosexperiments")
    assert body == {"metadata": {"resourceVersion": "5", "finalizers": ["other", names.FINALIZER]}}
    assert world.experiment.metadata.resource_version == "6"


async def test_what_goes_with_its_finalizer_does_not_come_back_as_a_ghost() -> None:
    """Its deletion may be announced before the answer; a ghost would hold the namespace for ever."""
    world = World(deletionTimestamp="2026-03-02T09:00:00Z", finalizers=[names.FINALIZER])
    assert world.store.faults.rival_of(an_experiment(), ()) == ""
    meta = {**world.body["metadata"], "resourceVersion": "6", "finalizers": []}
    world.api.answer = lambda *_: {**world.body, "metadata": meta}
    await world.do(SetFinalizer(False))
    assert world.store.get(KEY) is None


@pytest.mark.parametrize(("status", "stays"), [(409, True), (404, False)])
async def test_a_finalizer_on_what_has_changed_or_gone_is_a_reason_to_look_again(status: int, stays: bool) -> None:
    world = World()
    world.refuse(status)
    with pytest.raises(LookAgain):
        await world.do(SetFinalizer(True))
    assert (world.store.get(KEY) is not None) is stays


@pytest.mark.parametrize("reason", [names.SELECTED, names.INJECTING])
@pytest.mark.parametrize(
    "action", [KILL, AddAgent("shop-0", "u0", {"name": "x"}), CreatePod(POD)], ids=lambda a: type(a).__name__
)
@pytest.mark.parametrize(
    ("status", "message"), [(403, "a policy"), (422, "invalid"), (429, "disruption budget"), (403, "")]
)
async def test_what_the_api_server_says_against_an_injection_is_remembered(
    reason: str, action: Any, status: int, message: str
) -> None:
    world = World(reason)
    world.refuse(status, message)
    with pytest.raises(LookAgain):
        await world.do(action)
    assert world.experiments._failed[UID], "never empty: that would mean that nothing was said"
    assert message in world.experiments._failed[UID]


@pytest.mark.parametrize("status", [403, 422])
async def test_a_refused_heal_is_tried_again_with_back_off(status: int) -> None:
    world = World(names.INJECTED)
    world.refuse(status)
    with pytest.raises(ApiError):
        await world.do(AddAgent("shop-0", "u0", {"name": "x"}))
    assert not world.experiments._failed


@pytest.mark.parametrize("status", [404, 409])
async def test_a_pod_that_is_gone_needs_no_kill(status: int) -> None:
    world = World()
    world.refuse(status)
    await world.do(KILL)
    ((verb, plural, body, options),) = world.api.calls
    assert (verb, plural, options["part"]) == ("create", "pods", "eviction")
    assert body["deleteOptions"] == {"preconditions": {"uid": "u0"}, "gracePeriodSeconds": 1}


async def test_a_kill_without_budgets_is_a_deletion_with_a_grace_of_a_second() -> None:
    world = World()
    await world.do(KillPod("shop-0", "u0", evict=False))
    ((verb, plural, _, options),) = world.api.calls
    assert (verb, plural, options) == ("delete", "pods", {"grace": 1, "dry_run": False})


@pytest.mark.parametrize(("owner", "taken"), [(UID, False), ("another", True)])
async def test_a_pod_that_exists_counts_only_if_it_is_ours(owner: str, taken: bool) -> None:
    world = World()

    def answer(verb: str, plural: str, body: Any) -> Any:
        if verb == "create":
            raise ApiError(409, "AlreadyExists", "")
        return {"metadata": {"name": "x", "ownerReferences": [{"uid": owner}]}}

    world.api.answer = answer
    if not taken:
        await world.do(CreatePod(POD))
        return
    with pytest.raises(LookAgain):
        await world.do(CreatePod(POD))
    assert "someone else" in world.experiments._failed[UID]


@pytest.mark.parametrize(
    ("status", "message", "refusal"),
    [(403, "a policy", "a policy"), (429, "budget", "budget"), (404, "", "404 Odd: "), (None, "", "")],
)
async def test_a_dry_run_changes_nothing_and_brings_back_what_was_said(
    status: int | None, message: str, refusal: str
) -> None:
    world = World()
    if status is not None:
        world.refuse(status, message)
    looked = ObservedExperiment(world.experiment, T0)
    asked = AskInjection((AddAgent("shop-0", "u0", {"name": "x"}), CreatePod(POD)))
    answered = await world.experiments.answer(looked, frozenset({asked}))
    assert answered.refusal == refusal
    assert world.api.calls
    assert all(options["dry_run"] is True for *_, options in world.api.calls)


async def test_an_api_server_that_is_away_is_no_refusal() -> None:
    world = World()
    world.refuse(503)
    with pytest.raises(ApiError):
        await world.experiments.answer(
            ObservedExperiment(world.experiment, T0), frozenset({AskInjection((CreatePod(POD),))})
        )


@pytest.mark.parametrize(("status", "remembered"), [(403, True), (422, True), (409, False)])
async def test_a_fault_of_a_run_that_is_refused_does_not_stop_the_run(status: int, remembered: bool) -> None:
    world = World()
    run = {
        "apiVersion": names.API_VERSION,
        "kind": names.TEST_RUN,
        "metadata": {"name": "run", "namespace": "default", "uid": RUN_UID, "resourceVersion": "7"},
        "spec": {"suite": a_spec()},
    }
    world.store.put(names.TEST_RUN, run)
    entry = world.store.get(Key(names.TEST_RUN, "default", "run"))
    assert entry is not None
    world.refuse(status, "a policy")
    made = Decision(entry.body.status, (CreateExperiment({"metadata": {"name": "x", "namespace": "default"}}),))
    if remembered:
        with pytest.raises(LookAgain):
            await world.writer.apply(entry.body, made)
        assert world.observer.refusals[RUN_UID]["x"].message == "a policy"
    else:
        await world.writer.apply(entry.body, made)
        assert RUN_UID not in world.observer.refusals
