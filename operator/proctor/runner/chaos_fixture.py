"""The fixture `chaos`: a test makes a ChaosExperiment when it needs a fault, and learns what became of it.

The operator injects, observes and heals; this asks and waits. A fault that was refused or had no effect proves nothing:
its test is skipped as `inconclusive: ...`, and a step that asks for the evidence `faults` is then Inconclusive. What a
test leaves behind is aborted, and the next test begins only when it is healed.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from proctor.api import names
from proctor.runner.api_server import ApiError, ApiServer
from proctor.runner.attempts import ENV_TRACEPARENT
from proctor.runner.plan import load

_PAUSE = 0.2
_TRIES = 10
_VERDICT_SECONDS = 300.0
"""The start of the observer, its baseline, the fault, the heal and the recovery."""
_HEAL_SECONDS = 120.0


class Experiment:
    """One ChaosExperiment that the test has made."""

    def __init__(self, server: ApiServer, path: str, name: str, seen: Callable[[], None]) -> None:
        self._server, self._path, self._seen = server, path, seen
        self.name = name
        self.finished = False
        self._told = False

    def wait(self, condition: str, deadline: float = _VERDICT_SECONDS) -> dict[str, Any]:
        """Wait at most `deadline` seconds until a condition is True: Injected, Healed, Recovered.

        Return the status. Whether the fault had an effect is known at its end only, so `finish` comes after this. Skip
        the test as inconclusive if the fault is refused or does not get there; raise AssertionError if it ended as
        Failed, RuntimeError if it could not be healed.
        """
        status = self._until(lambda status: condition_of(status, condition) == "True", deadline, condition)
        if condition_of(status, condition) != "True":
            self._judge(status)
            raise AssertionError(f"{self.name} ended without {condition}: {told(status)}")
        return status

    def finish(self, deadline: float = _VERDICT_SECONDS) -> dict[str, Any]:
        """Wait at most `deadline` seconds for the verdict: Passed, or Failed, that is not recovered in time.

        Return the status. Skip the test as inconclusive if
        the fault is refused, has no effect or gets no verdict; raise RuntimeError if it could not be healed.
        """
        status = self._until(lambda _: False, deadline, "a verdict")
        self._judge(status)
        return status

    def close(self) -> None:
        """Abort if the test has not waited for the end, and wait for the heal; RuntimeError if there is none in time.

        Skip the test as inconclusive if nobody knows whether the fault had an effect: always, if it was aborted.
        """
        if self.finished:
            return
        try:
            status = self._read()
            if _live(status):
                self._patch({"spec": {"abort": True}})
                status = self._until(lambda now: condition_of(now, names.HEALED) == "True", _HEAL_SECONDS, "Healed")
        except ApiError as error:
            if error.status != 404:  # it went with its run, healed by its finalizer
                raise RuntimeError(f"whether {self.name} is healed is not known: {error}") from error
            return
        except pytest.skip.Exception as error:
            raise RuntimeError(f"{self.name} was aborted and is not healed: {error}") from error
        if not self._told or condition_of(status, names.HEALED) == "False":
            self._judge(status)

    def _until(self, holds: Callable[[Mapping[str, Any]], bool], seconds: float, wanted: str) -> dict[str, Any]:
        """Return the first status that `holds` or that is an end."""
        deadline = time.monotonic() + seconds
        status: dict[str, Any] = {}
        trouble = ""
        for _ in range(1 + int(seconds / _PAUSE)):
            try:
                status = self._read()
                if holds(status) or not _live(status):
                    return status
            except ApiError as error:
                if not error.passing:
                    raise
                trouble = f"; the API server: {error}"
            if time.monotonic() > deadline:
                break
            time.sleep(_PAUSE)
        self._inconclusive(f"{self.name} has not got to {wanted} in {seconds:.0f} s: {told(status)}{trouble}")

    def _judge(self, status: Mapping[str, Any]) -> None:
        """Let only faults pass that had an effect and are healed, and targets that are seen not to be well again."""
        if condition_of(status, names.HEALED) == "False":
            raise RuntimeError(f"{self.name} is not healed: {told(status)}")
        effective = condition_of(status, names.EFFECTIVE) == "True"
        if status.get("verdict") not in ("Passed", "Failed") or (status["verdict"] == "Passed" and not effective):
            self._inconclusive(f"{self.name}: {told(status)}")
        if effective and not self.finished:
            self._seen()
        self.finished = True

    def _inconclusive(self, why: str) -> NoReturn:
        self._told = True
        pytest.skip(f"inconclusive: {why}")

    def _read(self) -> dict[str, Any]:
        status: dict[str, Any] = self._server.request("GET", f"{self._path}/{self.name}").get("status") or {}
        return status

    def _patch(self, change: Mapping[str, Any]) -> None:
        _persist(lambda: self._server.request("PATCH", f"{self._path}/{self.name}", change))


class Chaos:
    """Makes the faults of one attempt of a test."""

    def __init__(
        self, server: ApiServer, run: Mapping[str, str], namespace: str, origin: str, seen: Callable[[], None]
    ) -> None:
        """`origin` is text that no other attempt has; names and seeds follow from it."""
        self._server, self._run, self._namespace, self._origin, self._seen = server, run, namespace, origin, seen
        self.experiments: list[Experiment] = []

    def inject(
        self,
        fault: str,
        *,
        selector: Mapping[str, str] | None = None,
        target: tuple[str, str] | None = None,
        port: int | None = None,
        duration: str = "10s",
        mode: str = "One",
        value: int | None = None,
        limits: Mapping[str, Any] | None = None,
        probes: Sequence[Mapping[str, Any]] = (),
        seed: int | None = None,
    ) -> Experiment:
        """Make a ChaosExperiment in the target's namespace; what the arguments mean is in its reference.

        `selector` are labels of pods; or `target` is kind and name of a workload. `probes` must hold before and after.
        `seed` chooses among the pods, by default another in each test. Return at once: the operator injects when its
        observer has found the target well. Skip the test as inconclusive if the API server refuses an experiment that
        is valid, raise ApiError if it is not or if the server does not answer.
        """
        digest = hashlib.sha256(f"{self._origin}/{len(self.experiments)}".encode()).hexdigest()
        spec: dict[str, Any] = {
            "fault": fault,
            "duration": duration,
            "mode": mode,
            "seed": int(digest[8:15], 16) if seed is None else seed,
            "selector": None if selector is None else {"matchLabels": dict(selector)},
            "targetRef": None if target is None else {"kind": target[0], "name": target[1]},
            "port": port,
            "value": value,
            "limits": None if limits is None else dict(limits),
            "steadyState": {"probes": [dict(probe) for probe in probes]} if probes else None,
        }
        name = f"{_slug(self._run['name'], 24)}-{fault.lower()}-{digest[:8]}"
        metadata: dict[str, Any] = {
            "name": name,
            "namespace": self._namespace,
            "labels": {names.LABEL_RUN_UID: self._run["uid"], names.LABEL_RUN: names.label_value(self._run["name"])},
        }
        if self._namespace == self._run["namespace"]:  # an owner is of the same namespace
            owner = {"apiVersion": names.API_VERSION, "kind": names.TEST_RUN}
            metadata["ownerReferences"] = [{**owner, "name": self._run["name"], "uid": self._run["uid"]}]
        body = {"apiVersion": names.API_VERSION, "kind": names.CHAOS_EXPERIMENT, "metadata": metadata}
        body["spec"] = {key: given for key, given in spec.items() if given is not None}
        path = f"/apis/{names.API_VERSION}/namespaces/{self._namespace}/{names.PLURALS[names.CHAOS_EXPERIMENT]}"
        try:
            _persist(lambda: self._server.request("POST", path, body))
        except ApiError as error:
            # An answer that was lost; nobody else makes this name.
            if error.status in (403, 404):
                pytest.skip(f"inconclusive: {name} was refused: {error}")
            if error.status != 409:
                raise
        made = Experiment(self._server, path, name, self._seen)
        self.experiments.append(made)
        return made


@pytest.fixture
def chaos(request: pytest.FixtureRequest) -> Iterator[Chaos]:
    """Make faults: `chaos.inject("ProcessKill", selector={"app": "worker"}).finish()`.

    Needs a step with a serviceAccountName that may create, get, patch and delete ChaosExperiments. Each fault that was
    effective counts as evidence `faults`.
    """
    root = Path(os.environ["PROCTOR_ROOT"])
    assignment = load(root, os.environ)
    namespace = os.environ.get(names.ENV_TARGET_NAMESPACE) or assignment.run["namespace"]
    origin = f"{assignment.pod}/{os.environ[ENV_TRACEPARENT]}/{assignment.seed}"
    seen = ("evidence:faults", 1)
    made = Chaos(
        ApiServer(root, os.environ),
        assignment.run,
        namespace,
        origin,
        lambda: request.node.user_properties.append(seen),
    )
    yield made
    failures = [failure for one in reversed(made.experiments) for failure in _closed(one)]
    if failures:
        raise failures[0]


def condition_of(status: Mapping[str, Any], kind: str) -> str:
    """Return the status of a condition: True, False or Unknown."""
    return next((str(one["status"]) for one in status.get("conditions") or () if one["type"] == kind), "Unknown")


def told(status: Mapping[str, Any]) -> str:
    """Return what an experiment's status says, in one line."""
    if status.get("verdict"):
        return f"{status['verdict']} ({status.get('reason', '')}): {status.get('message', '')}"
    bad = [one for one in status.get("conditions") or () if one["status"] != "True"]
    lines = [f"{one['type']} is {one['status']} ({one['reason']}): {one['message']}" for one in bad]
    return "; ".join(lines) or "no verdict yet"


def _live(status: Mapping[str, Any]) -> bool:
    return not status.get("verdict") and condition_of(status, names.ACCEPTED) != "False"


def _closed(experiment: Experiment) -> Iterator[BaseException]:
    """Close one experiment; what goes wrong must not keep the others from being closed."""
    try:
        experiment.close()
    except (RuntimeError, pytest.skip.Exception) as error:
        yield error


def _persist(act: Callable[[], object]) -> None:
    """Do it, again while the API server has a passing trouble. Raises ApiError."""
    for tried in range(1, _TRIES + 1):
        try:
            act()
            return
        except ApiError as error:
            if not error.passing or tried == _TRIES:
                raise
            time.sleep(_PAUSE * tried)


def _slug(text: str, length: int) -> str:
    return re.sub(r"[^a-z0-9-]", "-", text.lower())[:length].strip("-")
