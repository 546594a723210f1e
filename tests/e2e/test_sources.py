"""Where tests come from: other people's suites, git repositories that move and fail, parts of a tree; and lost pods."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import pytest
import pytest_asyncio

from e2e import third_party
from e2e.git_server import GitServer, archive
from e2e.third_party import Outcomes
from e2e.world import World, counts, one_step
from proctor.api import names
from proctor.edge.client import Json

pytestmark = pytest.mark.e2e

SHARDS = 4
T = TypeVar("T")
FAILING = {"tests/test_added.py": "def test_added(): assert False, 'commit B'\n"}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Outcomes]:
    """Return somebody else's suite, packed, and what plain pytest says about it."""
    folder = tmp_path_factory.mktemp("theirs")
    packed = third_party.fetch(folder)
    outcomes = third_party.plain_pytest(folder, tmp_path_factory.mktemp("plain") / "outcomes.json")
    assert len(outcomes) > 600
    assert set(outcomes.values()) == {"passed", "skipped"}
    return packed, outcomes


@pytest_asyncio.fixture
async def server(world: World) -> AsyncIterator[GitServer]:
    """A git server in the test's namespace."""
    yield await GitServer.start(world)


def suite(source: Json, **step: object) -> Json:
    """Return an inline suite whose one step `tests` has this source."""
    return one_step("case", step={"source": source} | step)


async def records(world: World, run: str, step: str = "tests") -> list[Json]:
    """Return all records of a step's pods."""
    selector = f"{names.LABEL_RUN}={run},{names.LABEL_ROLE}={names.ROLE_STEP},{names.LABEL_STEP}={step}"
    pods, _ = await world.client.list("pods", world.namespace, selector)
    return [record for pod in pods for record in await world.records(pod["metadata"]["name"])]


def outcomes_of(records: list[Json]) -> Outcomes:
    """Return each test's outcome; every test must have exactly one attempt over all pods."""
    attempts = [record for record in records if record["kind"] == "attempt"]
    found = {record["test"]: record["outcome"] for record in attempts}
    assert len(found) == len(attempts)
    assert all(record["final"] for record in attempts)
    return found


def tally(outcomes: Outcomes) -> Json:
    """Return outcomes as a status's counts."""
    said = list(outcomes.values())
    return counts(**{name: said.count(name) for name in set(said)})


async def run_while_the_branch_moves(world: World, url: str, change: bytes, server: GitServer, **step: object) -> Json:
    """Run the branch `main` and move it after the run has pinned its commit and before a pod of the step is made."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "one-job"}}
    quota |= {"spec": {"hard": {"count/jobs.batch": "1"}}}  # The one that resolves the ref.
    made = await world.client.create("resourcequotas", world.namespace, quota)
    seen = lambda: world.client.get("resourcequotas", world.namespace, "one-job")  # noqa: E731
    await eventually(seen, lambda quota: "hard" in quota["status"])
    await world.apply_run("first", {"suite": suite({"git": {"url": url, "ref": "main"}}, **step)})
    await world.until("first", lambda s: s.get("steps", [{}])[0].get("reason") == names.QUOTA_EXCEEDED)
    await server.commit(change)
    assert [job["metadata"]["labels"][names.LABEL_ROLE] for job in await world.jobs()] == [names.ROLE_RESOLVE]
    await world.client.delete("resourcequotas", world.namespace, "one-job", made["metadata"]["uid"])
    return await world.verdict("first")


async def eventually(look: Callable[[], Awaitable[T]], true: Callable[[T], bool]) -> T:
    """Look until something is true of what is seen, for at most a minute, and return that."""
    for _ in range(300):
        seen = await look()
        if true(seen):
            return seen
        await asyncio.sleep(0.2)
    raise AssertionError(f"it did not get there within a minute; last seen: {seen}")


async def test_somebody_elses_suite_in_four_shards_says_what_plain_pytest_says(
    world: World, theirs: tuple[bytes, Outcomes]
) -> None:
    packed, plain = theirs
    await world.archive("case", packed)
    await world.apply_run("case", {"suite": one_step("case", step={"shards": SHARDS, "args": third_party.ARGS})})
    status = await world.verdict("case")
    assert (status["verdict"], status["reason"]) == ("Passed", "Passed"), status["message"]
    assert status["counts"] == tally(plain)
    said = await records(world, "case")
    assert outcomes_of(said) == plain
    starts = [record for record in said if record["kind"] == "start"]
    assert sorted(record["index"] for record in starts) == list(range(SHARDS))
    assert {record["versions"]["pytest"] for record in starts} == {pytest.__version__}


async def test_a_branch_that_moves_mid_run_changes_nothing_for_its_shards(
    world: World, theirs: tuple[bytes, Outcomes], server: GitServer
) -> None:
    packed, plain = theirs
    commit = await server.commit(packed)
    step = {"shards": SHARDS, "args": third_party.ARGS}
    status = await run_while_the_branch_moves(world, server.url, archive(FAILING), server, **step)
    assert (status["verdict"], status["reason"]) == ("Passed", "Passed"), status["message"]
    assert status["resolved"]["commits"] == [{"step": "tests", "commit": commit}]
    assert status["counts"] == tally(plain)
    assert outcomes_of(await records(world, "first")) == plain

    await world.apply_run("next", {"suite": suite({"git": {"url": server.url, "ref": "main"}}, **step)})
    status = await world.verdict("next")
    assert (status["verdict"], status["reason"]) == ("Failed", "TestsFailed"), status["message"]
    assert status["resolved"]["commits"][0]["commit"] != commit
    assert outcomes_of(await records(world, "next")) == plain | {"tests/test_added.py::test_added": "failed"}


async def test_a_server_that_gives_out_branches_only_still_gives_the_pinned_commit(
    world: World, server: GitServer
) -> None:
    commit = await server.commit(archive({"test_a.py": "def test_a(): pass\n"}))
    change = archive(FAILING)
    status = await run_while_the_branch_moves(world, server.web_url, change, server, shards=2)
    assert (status["verdict"], status["counts"]) == ("Passed", counts(passed=1)), status["message"]
    assert status["resolved"]["commits"] == [{"step": "tests", "commit": commit}]
    assert outcomes_of(await records(world, "first")) == {"test_a.py::test_a": "passed"}


async def test_parts_of_a_tree(world: World, server: GitServer) -> None:
    """A folder in the repository becomes the root; of it a file, a node id, and what `-k` leaves are run."""
    two = "import helper\ndef test_one(): assert helper.here\ndef test_two(): assert helper.here\n"
    tree = {
        "test_outside.py": "def test_outside(): assert False\n",
        "deep/suite/helper.py": "here = True\n",
        "deep/suite/test_a.py": two,
        "deep/suite/more/test_b.py": "def test_two(): pass\ndef test_three(): pass\n",
    }
    await server.commit(archive(tree))
    source = {"git": {"url": server.url, "ref": "main", "path": "deep/suite"}}
    parts: dict[str, tuple[Json, set[str]]] = {
        "folder": (
            {},
            {
                "test_a.py::test_one",
                "test_a.py::test_two",
                "more/test_b.py::test_two",
                "more/test_b.py::test_three",
            },
        ),
        "subfolder": ({"path": "more"}, {"more/test_b.py::test_two", "more/test_b.py::test_three"}),
        "file": ({"path": "test_a.py"}, {"test_a.py::test_one", "test_a.py::test_two"}),
        "node-id": ({"path": "test_a.py::test_two"}, {"test_a.py::test_two"}),
        "arguments": ({"args": ["-k", "two and not three"]}, {"test_a.py::test_two", "more/test_b.py::test_two"}),
    }
    steps = [{"name": name, "source": source, "timeout": "60s"} | part for name, (part, _) in parts.items()]
    await world.apply_run("case", {"suite": {"target": {"name": "case"}, "steps": steps}})
    status = await world.verdict("case")
    assert status["verdict"] == "Passed", status["message"]
    assert len({pin["commit"] for pin in status["resolved"]["commits"]}) == 1
    for name, (_, wanted) in parts.items():
        assert outcomes_of(await records(world, "case", name)) == dict.fromkeys(wanted, "passed"), name


@pytest.mark.parametrize(
    ("git", "says"),
    [
        ({"url": "url", "ref": "no-such-branch"}, "'no-such-branch'"),
        ({"url": "url", "path": "no/such/folder"}, "'no/such/folder'"),
        ({"url": "closed_url"}, "ls-remote"),
        ({"url": "mute_url"}, "told to stop while git waited"),
    ],
    ids=["ref", "path", "closed", "mute"],
)
async def test_a_git_source_that_cannot_be_had(world: World, server: GitServer, git: dict[str, str], says: str) -> None:
    await server.commit(archive({"test_a.py": "def test_a(): pass\n"}))
    source = git | {"url": getattr(server, git["url"])}
    begin = time.monotonic()
    await world.apply_run("case", {"suite": suite({"git": source}, startTimeout="20s")})
    status = await world.verdict("case", 60)
    assert (status["verdict"], status["reason"]) == ("Error", "SourceUnavailable"), status["message"]
    assert says in status["message"]
    assert status["counts"] == counts()
    assert time.monotonic() - begin < 30


WAITS = """
import os, time, urllib.error, urllib.request

def published(name):
    try:
        urllib.request.urlopen(os.environ["PROCTOR_ENDPOINT_MARKS"] + "/" + name, timeout=10).close()
        return True
    except urllib.error.HTTPError as error:
        assert error.code == 404
        return False

def test_before():
    {before}

def test_waits():
    for _ in range(250):
        if published("go-on"):
            return
        time.sleep(0.2)
    assert False, "nobody published the mark"

def test_after(): pass
"""


@pytest.mark.parametrize("flaky", [False, True], ids=["unmarked", "flaky"])
async def test_an_evicted_pod_is_replaced_and_what_it_saw_counts(world: World, server: GitServer, flaky: bool) -> None:
    before = 'assert published("mended"), "broken in the first pod"' if flaky else "pass"
    await world.files("case", {"test_a.py": WAITS.replace("{before}", before), "test_b.py": "def test_b(): pass\n"})
    target = {"name": "case", "endpoints": [{"name": "marks", "url": server.web}]}
    await world.apply_run("case", {"suite": one_step("case", target=target)})

    async def step_pods() -> list[Json]:
        return (await world.client.list("pods", world.namespace, f"{names.LABEL_ROLE}={names.ROLE_STEP}"))[0]

    (first,) = await eventually(step_pods, lambda pods: len(pods) == 1 and pods[0]["status"]["phase"] == "Running")
    name, uid = first["metadata"]["name"], first["metadata"]["uid"]
    seen = await eventually(lambda: world.records(name), lambda said: any(r["kind"] == "attempt" for r in said))
    assert outcomes_of(seen) == {"test_a.py::test_before": "failed" if flaky else "passed"}
    await server.publish("mended")
    await evict(world, name)
    (second,) = await eventually(step_pods, lambda pods: len(pods) == 1 and pods[0]["metadata"]["uid"] != uid)
    await server.publish("go-on")
    status = await world.verdict("case")

    node_ids = ("test_a.py::test_before", "test_a.py::test_waits", "test_a.py::test_after", "test_b.py::test_b")
    assert outcomes_of(await world.records(second["metadata"]["name"])) == dict.fromkeys(node_ids, "passed")
    assert status["verdict"] == "Passed", status["message"]
    if flaky:
        assert (status["reason"], status["counts"]) == ("PassedWithFlakes", counts(passed=3, flaky=1))
        (failure,) = status["failures"]
        assert (failure["test"], failure["outcome"]) == ("test_a.py::test_before", "flaky")
        assert "broken in the first pod" in failure["line"]
    else:
        assert (status["reason"], status["counts"]) == ("Passed", counts(passed=4))
        assert not status.get("failures")


async def evict(world: World, pod: str) -> None:
    """Evict a pod as a drain does."""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": world.namespace}}
    path = f"/api/v1/namespaces/{world.namespace}/pods/{pod}/eviction"
    await world.kubectl("create", "--raw", path, "--filename", "-", stdin=json.dumps(eviction).encode())
