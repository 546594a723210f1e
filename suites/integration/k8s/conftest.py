"""The cluster of the target, and what of it each test looks at."""

from collections.abc import Iterator

import pytest
from _helpers.kube import Cluster, Object, open_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The API server; missing variables are an error of each test."""
    opened = open_cluster()
    with opened.http:
        yield opened


@pytest.fixture
def workloads(cluster: Cluster) -> list[Object]:
    """Deployments and StatefulSets of the target."""
    found = [*cluster.list("deployments"), *cluster.list("statefulsets")]
    if not found:
        raise RuntimeError("the target has no Deployment and no StatefulSet: there is nothing to judge")
    return found


@pytest.fixture
def pods(cluster: Cluster) -> list[Object]:
    """Pods of the target that are to run on: not those of Jobs, and none that is being ended."""
    found = [
        pod
        for pod in cluster.list("pods")
        if pod["spec"]["restartPolicy"] == "Always" and "deletionTimestamp" not in pod["metadata"]
    ]
    if not found:
        raise RuntimeError("the target has no pod: there is nothing to judge")
    return found
