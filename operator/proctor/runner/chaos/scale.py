"""The scale of one workload in the pod's own namespace, read and written with the pod's own token."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proctor.runner.api_server import MOUNT, ApiServer

_PLURALS = {"Deployment": "deployments", "StatefulSet": "statefulsets"}
KINDS = tuple(_PLURALS)


@dataclass(frozen=True)
class Reading:
    """How many replicas are wanted, and the version that this was read at."""

    replicas: int
    version: str


class Scale:
    """The scale subresource of a Deployment or StatefulSet. All its methods raise ApiError."""

    def __init__(self, root: Path, environ: Mapping[str, str], kind: str, name: str) -> None:
        self._server = ApiServer(root, environ)
        namespace = (root / MOUNT / "namespace").read_text(encoding="ascii").strip()
        self._path = f"/apis/apps/v1/namespaces/{namespace}/{_PLURALS[kind]}/{name}/scale"

    def read(self, timeout: float) -> Reading:
        """Return the scale, within `timeout` seconds."""
        scale: dict[str, Any] = self._server.request("GET", self._path, timeout=timeout)
        # A scale of zero has no `replicas` at all.
        return Reading(int(scale["spec"].get("replicas", 0)), str(scale["metadata"]["resourceVersion"]))

    def write(self, replicas: int, version: str, timeout: float) -> None:
        """Set the replicas if the scale still has `version`; ApiError has status 409 if it has not."""
        change = {"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}}
        self._server.request("PATCH", self._path, change, timeout=timeout)
