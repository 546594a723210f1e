"""An API server with the scale of one workload, which a test may refuse, change, stop and start."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner.api_door import ApiDoor

PATH = "/apis/apps/v1/namespaces/shop/deployments/dlq/scale"


class ScaleServer:
    """`history` has every number of replicas that the scale was set to."""

    def __init__(self, root: Path, replicas: int) -> None:
        self.door = ApiDoor(root, self._answer)
        self.path = PATH
        self.replicas = replicas
        self.version = 7
        self.history: list[int] = []
        self.refuse: tuple[str, int] | None = None
        """A method, and the status with which it is refused."""
        self.before_patch: Callable[[ScaleServer], None] | None = None
        """What happens once a patch has come in."""

    @property
    def env(self) -> dict[str, str]:
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.door.port)}

    def scale(self, replicas: int) -> None:
        self.replicas, self.version = replicas, self.version + 1
        self.history.append(replicas)

    def _answer(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        if path != self.path:
            return 404, {"kind": "Status", "reason": "NotFound", "message": f"{path} not found"}
        if self.refuse and self.refuse[0] == method:
            return self.refuse[1], {"kind": "Status", "reason": "No", "message": f"cannot {method} deployments/scale"}
        if method == "PATCH":
            if self.before_patch:
                self.before_patch(self)
            if body["metadata"]["resourceVersion"] != str(self.version):
                return 409, {"kind": "Status", "reason": "Conflict", "message": "the object has been modified"}
            self.scale(body["spec"]["replicas"])
        spec = {"replicas": self.replicas} if self.replicas else {}  # As the real one: zero is left out.
        return 200, {"kind": "Scale", "metadata": {"resourceVersion": str(self.version)}, "spec": spec}
