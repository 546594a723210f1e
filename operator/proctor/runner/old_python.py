"""What the runner says when the image's Python is too old to run it. Readable by Python 3.6.

It cannot import core.results, so it writes the same envelope by hand; a test feeds it to `decode`.
"""

import hashlib
import json
import os
import sys


def refuse(arguments: "list[str]", oldest: "tuple[int, int]") -> int:
    """Write a complete summary with trouble RunnerIncompatible to the termination log. Return the exit code."""
    root = arguments[arguments.index("--root") + 1] if "--root" in arguments else "/"
    seen = ".".join(str(number) for number in sys.version_info[:3])
    need = ".".join(str(number) for number in oldest)
    message = f"this image has Python {seen}, and the runner needs Python {need} or newer: use a newer base image"
    sys.stderr.write("proctor: " + message + "\n")
    with open(os.path.join(root, "proctor/plan/plan.json"), encoding="utf-8") as file:
        run = json.load(file)["run"]["uid"]
    body = {
        "run": run,
        "step": os.environ.get("PROCTOR_STEP", ""),
        "index": int(os.environ.get("JOB_COMPLETION_INDEX", "0")),
        "pod": os.environ.get("PROCTOR_POD_UID", ""),
        "complete": True,
        "counts": {},
        "collection": None,
        "part": None,
        "in_flight": None,
        "trouble": {"reason": "RunnerIncompatible", "message": message},
        "failures": [],
        "omitted": 0,
    }
    text = _canonical(body)
    envelope = {"v": 1, "bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest(), "body": body}
    with open(os.path.join(root, "dev/termination-log"), "w", encoding="ascii") as file:
        file.write(_canonical(envelope))
    return 0


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
