"""The writer and the way to it: actions, then one status, then Events; and what each refusal of the server means.

The client is a small API server in memory that notes every call: it stands for the world outside.
"""

import asyncio
import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from builders import RUN_UID, RUNNER_IMAGE, a_spec, at
from proctor.api import names
from proctor.core import plan as plans
from proctor.core.actions import CreateJob, CreatePlan, CreateRun, Decision, DeleteJob, DeleteRun, Event
from proctor.core.jobs import child_name
from proctor.edge import apply, observe, reconcile
from proctor.edge.apply import LookAgain, Writer
from proctor.edge.client import ApiError
from proctor.edge.experiments import Experiments
from proctor.edge.observe import Observer
from proctor.edge.reconcile import Reconciler
from proctor.edge.recorder import Recorder
from proctor.edge.store import Store
from proctor.edge.workqueue import Key

RUN = Key(names.TEST_RUN, "default", "run")


class Api:
    """Objects by plural and name. `refuse` is asked before every call and may raise; `die_at` ends the process."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.calls: list[str] = []
        self.refuse: Callable[[str, Any], None] = lambda call, body: None
        self.version = 100

    def _note(self, verb: str, plural: str, body: Any = None, name: str = "") -> None:
        call = f"{verb} {plural}"
        self.calls.append(call)
        self.refuse(call, body)

    def keep(self, plural: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self.version += 1
        known = self.objects.get((plural, body["metadata"]["name"]), {"metadata": {}, "status": {}})
        defaults = {
            "uid": f"uid-{self.version}",
            "namespace": "default",
            "creationTimestamp": "2026-03-02T09:00:00Z",
        }
        meta = {**defaults, **known["metadata"], **body["metadata"], "resourceVersion": str(self.version)}
        stored = copy.deepcopy({**known, **body, "metadata": meta})
        self.objects[plural, meta["name"]] = stored
        return copy.deepcopy(stored)

    async def get(self, plural: str, namespace: str, name: str) -> dict[str, Any]:
        self._note("get", plural)
        if (plural, name) not in self.objects:
            raise ApiError(404, "NotFound", name)
        return copy.deepcopy(self.objects[plural, name])

    async def create(self, plural: str, namespace: str, body: Any, *, dry_run: bool = False) -> dict[str, Any]:
        self._note("create", plural, body)
        if plural == "events":
            return dict(body)
        if (plural, body["metadata"]["name"]) in self.objects:
            raise ApiError(409, "AlreadyExists", body["metadata"]["name"])
        return self.keep(plural, body) if not dry_run else dict(body)

    async def replace(self, plural: str, namespace: str, body: Any, *, part: str = "") -> dict[str, Any]:
        self._note(f"replace {part} of", plural, body)
        known = self.objects.get((plural, body["metadata"]["name"]))
        if known is None:
            raise ApiError(404, "NotFound", "")
        if known["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "")
        return self.keep(plural, {**known, "status": body["status"]})

    async def delete(self, plural: str, namespace: str, name: str, uid: str) -> None:
        self._note("delete", plural)
        known = self.objects.get((plural, name))
        if known is None:
            raise ApiError(404, "NotFound", name)
        if known["metadata"]["uid"] != uid:
            raise ApiError(409, "Conflict", "uid")
        del self.objects[plural, name]

    @property
    def writes(self) -> list[str]:
        return [call for call in self.calls if not call.startswith("get")]


class World:
    """Store, observer, writer and reconciler of one process over an Api that outlives it."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.store = Store(lambda _: None)
        self.observer = Observer(api, self.store, 50, RUNNER_IMAGE)  # type: ignore[arg-type]
        self.recorder = Recorder(api)  # type: ignore[arg-type]
        experiments = Experiments(api, self.store)  # type: ignore[arg-type]
        self.writer = Writer(api, self.store, self.observer, experiments, self.recorder)  # type: ignore[arg-type]
        self.reconciler = Reconciler(self.store, self.observer, experiments, self.writer, RUNNER_IMAGE)
        for (plural, _), raw in api.objects.items():
            if plural == "testruns":
                self.store.put(names.TEST_RUN, raw)
            elif plural == "jobs":
                self.store.put_child("jobs", raw)
        self.store.doubt_all()

    @property
    def run(self) -> Any:
        entry = self.store.get(RUN)
        assert entry is not None
        return entry.body

    def decision(self, *actions: Any, reason: str = "changed", events: int = 1) -> Decision[Any]:
        status = self.run.status.model_copy(update={"reason": reason})
        return Decision(status, tuple(actions), tuple(Event("Told", "it") for _ in range(events)))


def stop_the_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    for module in (apply, observe, reconcile):
        monkeypatch.setattr(module, "now", lambda: at(seconds))


@pytest.fixture
def api() -> Api:
    api = Api()
    api.keep(
        "testruns",
        {
            "apiVersion": names.API_VERSION,
            "kind": names.TEST_RUN,
            "metadata": {"name": "run", "uid": RUN_UID, "generation": 1},
            "spec": {"suite": a_spec()},
        },
    )
    return api


@pytest.fixture
def world(api: Api, monkeypatch: pytest.MonkeyPatch) -> World:
    stop_the_clock(monkeypatch, 5)
    return World(api)


def a_manifest(name: str = "child", owner: str = RUN_UID) -> dict[str, Any]:
    labels = {names.LABEL_RUN_UID: RUN_UID, names.LABEL_STEP: "one", names.LABEL_ROLE: names.ROLE_STEP}
    return {"metadata": {"name": name, "labels": labels, "ownerReferences": [{"uid": owner}]}, "spec": {}}


def a_plan(owner: str = RUN_UID, world: World | None = None) -> dict[str, Any]:
    assert world is not None
    plan = plans.make(world.run, None, at(0).date())
    text = json.dumps(plans.document(world.run, plan))
    return {**a_manifest("plan", owner), "data": {names.PLAN_KEY: text}}


def raising(call: str, error: Exception) -> Callable[[str, Any], None]:
    def refuse(asked: str, body: Any) -> None:
        if asked == call:
            raise error

    return refuse


async def test_actions_come_first_then_one_status_then_events(world: World, api: Api) -> None:
    await world.writer.apply(world.run, world.decision(CreateJob(a_manifest()), events=2))
    assert api.calls == ["create jobs", "replace status of testruns"], "Events do not hold up the pass"
    await world.recorder.write_next()
    await world.recorder.write_next()
    assert api.calls[2:] == ["create events", "create events"]
    assert world.run.status.reason == "changed"


async def test_a_status_that_says_nothing_new_is_not_written(world: World, api: Api) -> None:
    await world.writer.apply(world.run, Decision(world.run.status))
    assert api.calls == []


async def test_no_event_when_the_status_is_refused(world: World, api: Api) -> None:
    stale = world.run
    api.keep("testruns", api.objects["testruns", "run"])
    with pytest.raises(LookAgain):
        await world.writer.apply(stale, world.decision())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(world.recorder.write_next(), 0.05)
    assert api.calls == ["replace status of testruns"]


async def test_a_run_whose_deletion_was_missed_is_forgotten(world: World, api: Api) -> None:
    del api.objects["testruns", "run"]
    with pytest.raises(LookAgain):
        await world.writer.apply(world.run, world.decision())
    assert world.store.get(RUN) is None
    assert await world.reconciler.reconcile(RUN) is None


async def test_an_event_that_fails_is_no_trouble(world: World, api: Api) -> None:
    api.refuse = raising("create events", ApiError(403, "Forbidden", "no"))
    await world.writer.apply(world.run, world.decision())
    await world.recorder.write_next()
    assert api.calls[-1] == "create events"
    assert world.run.status.reason == "changed"


async def test_a_failing_action_keeps_the_status_as_it_was(world: World, api: Api) -> None:
    api.refuse = raising("create jobs", ApiError(500, "InternalError", "x"))
    with pytest.raises(ApiError):
        await world.writer.apply(world.run, world.decision(CreateJob(a_manifest())))
    assert api.calls == ["create jobs"]


async def test_a_job_that_is_there_already_is_done_if_it_is_ours(world: World, api: Api) -> None:
    api.keep("jobs", a_manifest())
    await world.writer.apply(world.run, world.decision(CreateJob(a_manifest())))
    assert [job.name for job in world.store.jobs(RUN_UID)] == ["child"]
    assert world.observer.refusals.get(RUN_UID, {}) == {}


async def test_a_job_of_someone_else_is_a_refusal(world: World, api: Api) -> None:
    api.keep("jobs", a_manifest(owner="stranger"))
    with pytest.raises(LookAgain, match="someone else"):
        await world.writer.apply(world.run, world.decision(CreateJob(a_manifest())))
    assert not world.observer.refusals[RUN_UID]["child"].quota


async def test_a_quota_is_remembered_since_its_first_time_and_until_it_passes(
    world: World, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.refuse = raising("create jobs", ApiError(403, "Forbidden", "exceeded quota: q"))
    for seconds in (5, 20):
        stop_the_clock(monkeypatch, seconds)
        await world.writer.apply(world.run, Decision(world.run.status, (CreateJob(a_manifest("a")),)))
    await world.writer.apply(world.run, Decision(world.run.status, (CreateJob(a_manifest("b")),)))
    known = world.observer.refusals[RUN_UID]
    assert {name: (refusal.quota, refusal.since) for name, refusal in known.items()} == {
        "a": (True, at(5)),
        "b": (True, at(20)),
    }
    api.refuse = lambda call, body: None
    await world.writer.apply(world.run, Decision(world.run.status, (CreateJob(a_manifest("b")),)))
    assert set(known) == {"a"}, "another Job's success says nothing about this one"


async def test_a_plan_that_is_there_already_counts_and_ends_the_pass(world: World, api: Api) -> None:
    api.keep("configmaps", a_plan(world=world))
    with pytest.raises(LookAgain):
        await world.writer.apply(world.run, world.decision(CreatePlan(a_plan(world=world)), CreateJob(a_manifest())))
    assert RUN_UID in world.store.plans
    assert world.run.status.reason == ""


async def test_the_plan_of_a_killed_process_is_read_before_anything_is_made(world: World, api: Api) -> None:
    suite = {"apiVersion": names.API_VERSION, "kind": names.TEST_SUITE, "metadata": {"name": "suite"}}
    api.keep("testsuites", suite | {"spec": a_spec()})
    plan = a_plan(world=world) | {
        "metadata": {**a_plan(world=world)["metadata"], "name": child_name(world.run, "plan")}
    }
    api.keep("configmaps", plan)
    successor = World(api)
    await successor.reconciler.reconcile(RUN)
    assert api.calls[0] == "get configmaps"
    assert RUN_UID in successor.store.plans
    assert "create configmaps" not in api.calls


async def test_a_job_of_an_earlier_plan_is_no_part_of_this_one(world: World, api: Api) -> None:
    """A crash left the Job without its plan, and the suite was edited before the operator came back."""
    name = child_name(world.run, "one")
    job = a_manifest(name)
    job["metadata"]["annotations"] = {names.ANNOTATION_PLAN: "another digest"}
    api.keep("jobs", job)
    for _ in range(4):
        await world.reconciler.reconcile(RUN)
    assert (world.run.status.verdict, world.run.status.reason) == ("Error", names.PLAN_CHANGED)
    assert ("jobs", name) not in api.objects, "what it might still run is ended"


@pytest.mark.parametrize("data", [{}, {names.PLAN_KEY: "{"}, {names.PLAN_KEY: '{"version": 99}'}])
async def test_a_plan_that_cannot_be_read_ends_the_run(world: World, api: Api, data: dict[str, str]) -> None:
    api.keep("configmaps", a_manifest(child_name(world.run, "plan")) | {"data": data})
    for _ in range(3):
        await world.reconciler.reconcile(RUN)
    assert (world.run.status.verdict, world.run.status.reason) == ("Error", names.JOB_REFUSED)


@pytest.mark.parametrize(
    "refused", [ApiError(422, "Invalid", "too long"), ApiError(403, "Forbidden", "no"), "stranger"]
)
async def test_a_plan_that_is_refused_ends_the_run(world: World, api: Api, refused: ApiError | str) -> None:
    if isinstance(refused, ApiError):
        api.refuse = raising("create configmaps", refused)
    else:
        plan = {**a_plan("stranger", world), "metadata": {"name": child_name(world.run, "plan"), "uid": "x"}}
        api.keep("configmaps", plan)
    for _ in range(3):
        await world.reconciler.reconcile(RUN)
    assert (world.run.status.verdict, world.run.status.reason) == ("Error", names.JOB_REFUSED)
    assert "ConfigMap" in world.run.status.message
    assert not [name for plural, name in api.objects if plural == "jobs"], "the Job made beside it is gone"


@pytest.mark.parametrize("status", [404, 409])
async def test_what_is_gone_already_needs_no_deletion(world: World, api: Api, status: int) -> None:
    api.refuse = raising("delete jobs", ApiError(status, "", ""))
    await world.writer.apply(world.run, Decision(world.run.status, (DeleteJob("child", "u"),)))
    api.refuse = raising("delete jobs", ApiError(500, "", ""))
    with pytest.raises(ApiError):
        await world.writer.apply(world.run, Decision(world.run.status, (DeleteJob("child", "u"),)))


async def test_a_run_that_is_gone_is_not_deleted_for_ever(world: World, api: Api) -> None:
    del api.objects["testruns", "run"]
    await world.writer.apply(world.run, Decision(world.run.status, (DeleteRun("run", RUN_UID),)))
    assert world.store.get(RUN) is None


async def test_a_run_of_a_suite_that_was_made_already_is_done(world: World, api: Api) -> None:
    made = {**api.objects["testruns", "run"], "metadata": {"name": "run"}}
    await world.writer.apply(world.run, Decision(world.run.status, (CreateRun(made),)))
    assert api.calls == ["create testruns"]


async def test_events_say_whose_they_are(world: World, api: Api) -> None:
    bodies: list[Any] = []
    api.refuse = lambda call, body: bodies.append(body) if call == "create events" else None
    await world.writer.apply(world.run, Decision(world.run.status, (), (Event("Why", "text", warning=True),)))
    await world.recorder.write_next()
    told = bodies[0]
    assert (told["reason"], told["message"], told["type"]) == ("Why", "text", "Warning")
    assert told["involvedObject"]["uid"] == RUN_UID


class Killed(BaseException):
    """The process ends here."""


async def drive(api: Api, kill: int | None = None, *, after: bool = False) -> int:
    """Reconcile until the status stands still, in a fresh process after each kill; return the number of writes.

    The process is killed at its write number `kill`: before it reaches the server, or `after` it was done.
    """
    count = 0

    def counting(call: str, body: Any) -> None:
        nonlocal count
        if call.startswith("get") or call == "create events":
            return
        count += 1
        if count == kill:
            if after:
                plural = call.split()[-1]
                if call.startswith("create"):
                    api.keep(plural, body)
                elif call.startswith("replace"):
                    api.keep(plural, {**api.objects[plural, "run"], "status": body["status"]})
            raise Killed

    api.refuse = counting
    world = World(api)
    for _ in range(8):
        try:
            await world.reconciler.reconcile(RUN)
        except Killed:
            world = World(api)
    return count


async def test_invariant_4_killed_before_or_after_any_write_the_same_comes_out(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_the_clock(monkeypatch, 1)

    def facts(api: Api) -> Any:
        run = api.objects["testruns", "run"]["status"]
        step = run["steps"][0]
        return sorted(api.objects), step["state"], step["job"]["name"], run["resolved"]

    calm = copy.deepcopy(api.objects)
    writes = await drive(api)
    want = facts(api)
    assert writes == 4, "plan, Job, two states"
    for number in range(1, writes + 1):
        for after in (False, True):
            other = Api()
            other.objects = copy.deepcopy(calm)
            await drive(other, number, after=after)
            assert facts(other) == want, f"killed {'after' if after else 'before'} write {number}"
