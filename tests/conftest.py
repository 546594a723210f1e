"""For all tests: e2e ones need a cluster, and hypothesis searches anew each time, except where CI asks.

Without a cluster e2e tests are skipped, or an error where PROCTOR_E2E=1 asks for them.
"""

import os
import shutil

import pytest
from hypothesis import settings

# A change must not be refused for a defect that was there before it; a developer's own runs go on searching.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


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
