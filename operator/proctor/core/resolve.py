"""A step's git ref, resolved to a commit by a pod of its own before the step's first pod.

A pod, and not the operator, talks to the repository: the operator needs no credentials and dials no user's address.
"""

import json
import re
from dataclasses import dataclass
from datetime import timedelta

from proctor.api import names
from proctor.api.step import Step
from proctor.core import trouble
from proctor.core.jobs import child_name, resolve_part
from proctor.core.observed import ObservedRun
from proctor.core.results import Trouble

LAG = timedelta(seconds=10)
"""How long the pod of a finished Job may stay unseen before its answer counts as lost."""
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


@dataclass(frozen=True)
class Resolution:
    """How far the resolution of a git ref is: not begun, running, a commit, or trouble."""

    running: bool = False
    commit: str | None = None
    trouble: Trouble | None = None


def observe(step: Step, seen: ObservedRun) -> Resolution:
    """Return the resolution of a step's git ref, from the Job that does it."""
    name = child_name(seen.run, resolve_part(step.name))
    job = seen.job(name)
    if job is None:
        return Resolution()
    pods = [pod for pod in seen.pods if pod.step == step.name and pod.role == names.ROLE_RESOLVE]
    ended = [pod for pod in pods if pod.runner is not None]
    for pod in sorted(ended, key=lambda pod: pod.created, reverse=True):
        assert pod.runner is not None
        found = _read(pod.runner.message)
        if found.commit:
            return found
        if trouble.disrupted(pod) is None:
            if found.trouble:
                return found
            text = f"pod {pod.name}: exited with code {pod.runner.exit_code} and named no commit"
            return Resolution(trouble=Trouble(names.SOURCE_UNAVAILABLE, text))
    if job.failed is not None:
        obstacle = next((why for pod in pods if (why := trouble.starting(pod))), None)
        text = f"Job {job.name}: {job.message or job.failed}"
        return Resolution(trouble=obstacle or Trouble(names.SOURCE_UNAVAILABLE, text))
    if job.complete and seen.now >= (job.finished_at or job.created) + LAG:
        text = f"Job {job.name} ended, but its pod was not seen"
        return Resolution(trouble=Trouble(names.SOURCE_UNAVAILABLE, text))
    return Resolution(running=True)


def _read(message: str) -> Resolution:
    try:
        answer = json.loads(message)
    except ValueError:
        return Resolution()
    if not isinstance(answer, dict):
        return Resolution()
    if _COMMIT.match(str(answer.get("commit", ""))):
        return Resolution(commit=answer["commit"])
    if answer.get("error"):
        return Resolution(trouble=Trouble(names.SOURCE_UNAVAILABLE, str(answer["error"])[:500]))
    return Resolution()
