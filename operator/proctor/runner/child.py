"""The supervised process: checks pytest and the target, then becomes a plain pytest with our plugin.

It is started by its path. What that puts on sys.path is removed, so that tests import what they would under plain
`pytest`; the runner's own folder goes last, behind everything of the image.
"""

import importlib.util
import json
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def main(arguments: list[str]) -> int:
    """Run pytest with `arguments`; a trouble record in the pipe says why it did not start."""
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != _HERE]
    sys.path.append(os.path.dirname(os.path.dirname(_HERE)))
    reason, message = "RunnerIncompatible", _hidden() or _no_pytest()
    if not message:
        from pathlib import Path

        from proctor.api import names
        from proctor.runner.plan import load
        from proctor.runner.preflight import unreachable

        assignment = load(Path(os.environ["PROCTOR_ROOT"]), os.environ)
        reason, message = names.TARGET_UNREACHABLE, unreachable(assignment.endpoints) if assignment.preflight else None
    _send({"kind": "trouble", "reason": reason, "message": message} if message else {"kind": "ready"})
    if message:
        return 0
    import pytest

    sys.argv = ["pytest", *arguments]
    return int(pytest.console_main())


def _hidden() -> str | None:
    """Return whether the image has a package of our name that is not this runner."""
    spec = importlib.util.find_spec("proctor")
    places = list(spec.submodule_search_locations or ()) if spec else []
    found = os.path.join(places[0] if places else "", "runner", "plugin.py")
    with open(os.path.join(_HERE, "plugin.py"), "rb") as ours:
        if os.path.isfile(found):
            with open(found, "rb") as theirs:
                if theirs.read() == ours.read():
                    return None
    return f"a package named `proctor` in this image ({', '.join(places)}) hides the runner's: rename it"


def _no_pytest() -> str | None:
    """Return what is wrong with the image's pytest."""
    try:
        import pytest
    except Exception as error:  # Whatever the image's pytest raises is the image's trouble, and is told.
        return f"pytest cannot be imported in this image: {type(error).__name__}: {error}"
    if getattr(pytest, "version_tuple", (0, 0))[:2] < (7, 4):
        return f"this image has pytest {pytest.__version__}, and the runner needs pytest 7.4 or newer"
    return None


def _send(record: dict[str, object]) -> None:
    """Write to the supervisor without a module of ours, which another package may hide."""
    os.write(int(os.environ["PROCTOR_RECORDS_FD"]), json.dumps(record).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
