"""Tests marked e2e need a cluster: without one they are skipped, or an error where PROCTOR_E2E=1 asks for them."""

import os
import shutil

import pytest


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
