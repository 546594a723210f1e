"""What this pod has to do: the plan of the run, read from its ConfigMap, and the pod's own place in it.

The operator writes the plan (core.plan); only what the runner needs is read, so that a newer plan with more keys works.
"""

import gzip
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proctor.api import names

VERSION = 1
MAX_DURATIONS = 512 * 1024
"""Bytes of the compressed durations; a ConfigMap holds 1 MiB altogether."""


class InvalidPlan(Exception):
    """The plan cannot be read, or has no such step. The text says what is wrong and where."""


@dataclass(frozen=True)
class Endpoint:
    """One address of the target."""

    name: str
    url: str


@dataclass(frozen=True)
class Retry:
    """How often a failing test is tried, and the seconds between tries: backoff * factor ** n, at most max_backoff."""

    attempts: int = 1
    backoff: float = 0.0
    factor: float = 2.0
    max_backoff: float = 60.0

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait after the failed attempt number `attempt`, counted from 1."""
        return float(min(self.backoff * self.factor ** (attempt - 1), self.max_backoff))


@dataclass(frozen=True)
class Source:
    """Where the tests come from: kind Image, ConfigMap or Git. `path` is the folder that becomes the source's root."""

    kind: str
    url: str = ""
    ref: str = ""
    path: str = "."


@dataclass(frozen=True)
class Assignment:
    """One pod's share of a run. `root` stands before every path of the pod; it is / but in tests.

    `evidence` has the names for which the step has a minimum.
    """

    root: Path
    run: Mapping[str, str]
    step: str
    index: int
    pod: str
    seed: int
    mode: str
    endpoints: tuple[Endpoint, ...]
    path: str
    args: tuple[str, ...]
    shards: int
    timeout: float
    retry: Retry
    source: Source
    quarantine: frozenset[str]
    evidence: frozenset[str]
    commit: str
    preflight: bool

    def at(self, path: str) -> Path:
        """Return where the absolute `path` of a pod is."""
        return self.root / path.lstrip("/")

    def source_root(self) -> Path:
        """Return the folder that is pytest's root and working directory."""
        if self.source.kind == "Image":
            if not self.path.startswith("/"):
                return self.at(names.IMAGE_SUITES_DIR)
            place = self.at(self.path.partition("::")[0])
            return place if place.is_dir() else place.parent
        return self.at(names.SOURCE_DIR) / self.source.path

    def target_path(self) -> str:
        """Return what of the source root to run: a folder, a file or a node id; "." for all of it."""
        if not self.path.startswith("/"):
            return self.path
        file, separator, rest = self.path.partition("::")
        return "." if self.at(file).is_dir() else Path(file).name + separator + rest

    def environment(self) -> dict[str, str]:
        """Return the variables that the tests read."""
        endpoints = {
            names.ENV_ENDPOINT_PREFIX + endpoint.name.upper().replace("-", "_"): endpoint.url
            for endpoint in self.endpoints
        }
        return {names.ENV_MODE: self.mode, names.ENV_SEED: str(self.seed), **endpoints}


def load(root: Path, environ: Mapping[str, str]) -> Assignment:
    """Return this pod's assignment. Raises InvalidPlan."""
    file = root / names.PLAN_DIR.lstrip("/") / names.PLAN_KEY
    try:
        plan = json.loads(file.read_bytes())
        if plan["version"] != VERSION:
            raise InvalidPlan(f"{file}: version {plan['version']!r} is unknown, this runner reads version {VERSION}")
        return _assignment(plan, root, environ)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidPlan(f"{file}: cannot be read as a plan: {type(error).__name__}: {error}") from error


def durations(root: Path) -> dict[str, float]:
    """Return the known seconds of tests by node id; empty when the run has none. Raises InvalidPlan."""
    file = root / names.PLAN_DIR.lstrip("/") / names.DURATIONS_KEY
    if not file.exists():
        return {}
    try:
        packed = file.read_bytes()
        if len(packed) > MAX_DURATIONS:
            raise InvalidPlan(f"{file}: {len(packed)} bytes, more than {MAX_DURATIONS}")
        known = json.loads(gzip.decompress(packed))
        return {str(test): float(known[test]) for test in known if _is_duration(known[test])}
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise InvalidPlan(f"{file}: cannot be read: {type(error).__name__}: {error}") from error


def _is_duration(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


def _assignment(plan: dict[str, Any], root: Path, environ: Mapping[str, str]) -> Assignment:
    wanted = environ.get(names.ENV_STEP, "")
    step = next((step for step in plan["steps"] if step["name"] == wanted), None)
    if step is None:
        raise InvalidPlan(f"the plan has no step {wanted!r} ({names.ENV_STEP})")
    retry, source = step["retry"], step["source"]
    return Assignment(
        root=root,
        run={key: str(plan["run"].get(key, "")) for key in ("uid", "name", "namespace", "suite")},
        step=wanted,
        index=int(environ.get(names.ENV_INDEX) or 0),
        pod=environ.get(names.ENV_POD_UID, ""),
        seed=int(plan["seed"]),
        mode=str(plan["mode"]),
        endpoints=tuple(Endpoint(one["name"], one["url"]) for one in plan["target"]["endpoints"]),
        path=step["path"] or ".",
        args=tuple(step["args"]),
        shards=int(step["shards"]),
        timeout=float(step["timeoutSeconds"]),
        retry=Retry(
            max(1, int(retry["attempts"])),
            float(retry["backoffSeconds"]),
            float(retry["factor"]),
            float(retry["maxBackoffSeconds"]),
        ),
        source=Source(source["kind"], source.get("url", ""), source.get("ref", ""), source.get("path") or "."),
        quarantine=frozenset(step["quarantine"]),
        evidence=frozenset(step.get("evidence", ())),
        commit=environ.get(names.ENV_COMMIT, ""),
        preflight=environ.get(names.ENV_PREFLIGHT) != "0",
    )
