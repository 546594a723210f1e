"""Access to a real API server for the tests that are marked e2e: the one that KUBECONFIG names."""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Answer = subprocess.CompletedProcess[str]
Kubectl = Callable[..., Answer]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = " and ".join(
        name
        for name, there in (("KUBECONFIG", os.environ.get("KUBECONFIG")), ("kubectl", shutil.which("kubectl")))
        if not there
    )
    marked = [item for item in items if item.get_closest_marker("e2e")]
    if not missing or not marked:
        return
    if os.environ.get("PROCTOR_E2E") == "1":
        raise pytest.UsageError(f"PROCTOR_E2E=1 asks for a cluster, but there is no {missing}")
    for item in marked:
        item.add_marker(pytest.mark.skip(reason=f"no {missing}"))


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """Return a function that runs kubectl, with `document` on its standard input if one is given."""

    def call(*arguments: str, document: Any = None) -> Answer:
        argv = ["kubectl", *arguments, *(["-f", "-"] if document is not None else [])]
        text = None if document is None else json.dumps(document)
        return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, check=False)

    return call


@pytest.fixture(scope="session")
def namespace(kubectl: Kubectl) -> Iterator[str]:
    name = f"api-{uuid.uuid4().hex[:8]}"
    made = kubectl("create", "namespace", name)
    assert made.returncode == 0, made.stderr
    yield name
    kubectl("delete", "namespace", name, "--wait=false")
