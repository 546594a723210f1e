"""Pins a step's git ref to a commit, once per run, so that all its pods run the same files."""

import json

from proctor.api import names
from proctor.runner.git import GitFailed, commit_of
from proctor.runner.output import TerminationLog, say
from proctor.runner.plan import Assignment


def resolve(assignment: Assignment) -> int:
    """Write {"commit": ...} or {"error": ...} to stdout and the termination log. Return 1 for an error."""
    source = assignment.source
    try:
        if source.kind != "Git":
            raise GitFailed(f"step {assignment.step} has no git source")
        ref = source.ref or "HEAD"
        answer = {"commit": commit_of(source.url, ref, assignment.at(names.GIT_SECRET_DIR))}
    except (GitFailed, OSError) as error:
        say(str(error))
        answer = {"error": str(error)}
    text = json.dumps(answer)
    TerminationLog(assignment.at(names.TERMINATION_LOG)).write(text)
    print(text, flush=True)
    return 1 if "error" in answer else 0
