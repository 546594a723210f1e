"""The runner's three commands: prepare (init container), resolve (its own Job), run (main container)."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from proctor.runner.plan import InvalidPlan, load
from proctor.runner.prepare import prepare
from proctor.runner.resolve import resolve
from proctor.runner.supervise import supervise

_COMMANDS = {"prepare": prepare, "resolve": resolve, "run": supervise}


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 0 means that what it had to write was written."""
    parser = argparse.ArgumentParser(prog="proctor.runner", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("/"), help="where /proctor, /suites and /dev begin")
    parser.add_argument("command", choices=_COMMANDS)
    options = parser.parse_args(arguments)
    try:
        return _COMMANDS[options.command](load(options.root.absolute(), os.environ))
    except InvalidPlan as error:
        print(f"proctor: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
