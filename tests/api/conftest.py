"""Access to a real API server for the tests that are marked e2e: the one that KUBECONFIG names."""

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Answer = subprocess.CompletedProcess[str]
Kubectl = Callable[..., Answer]


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
    # Elsewhere an admission policy would refuse ChaosExperiments before their own fields are looked at.
    labeled = kubectl("label", "namespace", name, "proctor.dev/chaos=allowed")
    assert labeled.returncode == 0, labeled.stderr
    yield name
    kubectl("delete", "namespace", name, "--wait=false")
