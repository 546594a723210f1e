"""kubectl as the one way to the API server: it knows every kind of kubeconfig, proxy and login that users have."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from proctor.cli.errors import CommandError

_SECONDS = 60


class NotFound(CommandError):
    """The object, or its kind, is not there."""


def call(arguments: list[str], *, namespace: str | None, document: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Run kubectl with `-o json`, feed it `document` if there is one, and return the object that it answers.

    Raises NotFound, or CommandError with kubectl's own words.
    """
    program = shutil.which("kubectl")
    if program is None:
        raise CommandError("kubectl is not in PATH: install it, or run `proctor up`, which tells where its own is")
    argv = [program, *arguments, *(["--namespace", namespace] if namespace else []), "-o", "json"]
    if document is not None:
        argv += ["-f", "-"]
    try:
        done = subprocess.run(
            argv,
            input=None if document is None else json.dumps(document),
            stdin=subprocess.DEVNULL if document is None else None,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"no answer from `kubectl {' '.join(arguments)}` in {_SECONDS} s") from error
    if done.returncode != 0:
        said = done.stderr.strip() or f"kubectl ended with {done.returncode}"
        if "(NotFound)" in said:
            raise NotFound(said)
        if "doesn't have a resource type" in said or "no matches for kind" in said:
            raise NotFound(f"{said}. Is Proctor installed? `kubectl get crd testruns.proctor.dev` tells.")
        raise CommandError(said)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
