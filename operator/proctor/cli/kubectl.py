"""kubectl as the one way to the API server: it knows every kind of kubeconfig, proxy and login that users have."""

import json
import re
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from proctor.cli.errors import CommandError

_SECONDS = 60


class NotFound(CommandError):
    """The object, or its kind, is not there."""


def call(arguments: list[str], *, namespace: str | None, document: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Run kubectl with `-o json`, feed it `document` if there is one, and return the object that it answers.

    Raises NotFound, or CommandError with kubectl's own words.
    """
    argv = [*_argv(arguments, namespace), "-o", "json"]
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


@contextmanager
def forward(target: str, port: str, *, namespace: str | None) -> Iterator[int]:
    """Give the port of this machine that leads to a port of `target` ("service/x"), until the context ends.

    Raises CommandError with kubectl's own words when there is no way.
    """
    argv = _argv(["port-forward", target, f":{port}"], namespace)
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], _SECONDS)
            said = process.stdout.readline() if ready else ""
            found = re.match(r"Forwarding from 127\.0\.0\.1:(\d+) ", said)
            if found is None:
                process.kill()
                process.wait()
                errors.seek(0)
                why = errors.read().strip() or said.strip() or f"nothing in {_SECONDS} s"
                raise CommandError(f"`kubectl port-forward {target}` gave no port: {why}")
            yield int(found[1])
        finally:
            process.kill()


def _argv(arguments: list[str], namespace: str | None) -> list[str]:
    program = shutil.which("kubectl")
    if program is None:
        raise CommandError("kubectl is not in PATH: install it, or run `proctor up`, which tells where its own is")
    return [program, *arguments, *(["--namespace", namespace] if namespace else [])]
