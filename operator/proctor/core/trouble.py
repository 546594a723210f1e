"""What is wrong with a pod, in one word that a user can act on. None means: nothing, so far.

Two questions are kept apart. `starting` asks what keeps a pod from running, which may still pass (an autoscaler, a
registry's hiccup). `ended` asks why a pod's report cannot be taken as it is.
"""

from proctor.api import names
from proctor.core.envelope import IncompleteReport
from proctor.core.observed import Pod
from proctor.core.results import Summary, Trouble, decode

_PULL_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
_CONFIG_REASONS = {"CreateContainerConfigError", "CreateContainerError"}
_NODE_REASONS = {"NodeLost", "DeletionByTaintManager", "DeletionByPodGC"}
_NO_PYTHON = {126, 127, 128}
"""Exit codes of a container whose command could not be started."""


def starting(pod: Pod) -> Trouble | None:
    """Return what keeps `pod` from starting its tests."""
    if pod.waiting is not None:
        reason, message = pod.waiting
        if reason in _PULL_REASONS:
            return Trouble(names.IMAGE_PULL_ERROR, f"pod {pod.name}: {message or reason}")
        if reason in _CONFIG_REASONS:
            return Trouble(names.POD_CONFIG_ERROR, f"pod {pod.name}: {message or reason}")
    if pod.unschedulable is not None:
        return Trouble(names.UNSCHEDULABLE, f"pod {pod.name}: {pod.unschedulable}")
    return None


def disrupted(pod: Pod) -> Trouble | None:
    """Return the disruption that ended `pod` before its report was complete; another pod takes its place."""
    if pod.runner is not None and pod.runner.exit_code == 0:
        return None
    if not (pod.disrupted or pod.reason in _NODE_REASONS):
        return None
    word = names.NODE_LOST if {pod.disrupted, pod.reason} & _NODE_REASONS else names.EVICTED
    return Trouble(word, f"pod {pod.name}: {pod.message or pod.disrupted or pod.reason}")


def ended(pod: Pod) -> tuple[Summary | None, Trouble | None]:
    """Return the summary of an ended pod, and why it cannot be taken as the whole truth about its shard."""
    container = pod.runner or pod.prepare
    message = container.message if container else ""
    summary: Summary | None = None
    damage = "the pod left no termination message"
    if container is not None:
        try:
            summary = decode(message, run=pod.run_uid, step=pod.step, index=pod.index, pod=pod.uid)
        except IncompleteReport as error:
            damage = str(error)
    if container is not None and container.reason == "OOMKilled":
        who = "a child process was" if container.exit_code == 0 else "it was"
        return summary, Trouble(names.OOM_KILLED, f"pod {pod.name}: {who} killed for memory{_during(summary)}")
    if pod.reason == "DeadlineExceeded":
        return summary, Trouble(names.DEADLINE_EXCEEDED, f"pod {pod.name}: exceeded its deadline{_during(summary)}")
    if summary is not None and summary.trouble is not None:
        return summary, summary.trouble
    if container is None:
        return None, Trouble(
            names.RUNNER_CRASHED, f"pod {pod.name}: {pod.message or pod.reason or 'ended without a trace'}"
        )
    if pod.runner is None:
        return summary, Trouble(
            names.SOURCE_UNAVAILABLE, f"pod {pod.name}: prepare exited with code {container.exit_code}"
        )
    if container.exit_code in _NO_PYTHON and summary is None:
        return None, Trouble(
            names.RUNNER_INCOMPATIBLE,
            f"pod {pod.name}: python3 could not be started in this image (exit code {container.exit_code})",
        )
    if container.exit_code != 0:
        return summary, Trouble(
            names.RUNNER_CRASHED, f"pod {pod.name}: the runner exited with code {container.exit_code}{_during(summary)}"
        )
    if summary is None:
        return None, Trouble(names.INCOMPLETE_REPORT, f"pod {pod.name}: {damage}")
    if not summary.complete or summary.collection is None or summary.part is None:
        return summary, Trouble(names.INCOMPLETE_REPORT, f"pod {pod.name}: the report has no end{_during(summary)}")
    reported = sum(summary.counts.values())
    if reported < summary.part.count and not summary.counts.get("failed"):
        # A failure may end a session early (--maxfail); anything else that does is unexplained.
        return summary, Trouble(
            names.INCOMPLETE_REPORT, f"pod {pod.name}: {reported} of {summary.part.count} tests were reported"
        )
    return summary, None


def _during(summary: Summary | None) -> str:
    return f" during {summary.in_flight}" if summary is not None and summary.in_flight else ""
