"""A small API server for one kind of object, on whose objects a test acts as the operator."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.api_door import ApiDoor

Object = dict[str, Any]
Operator = Callable[[Object, int], Object | None]
"""What an object's status is at its n-th reading; None: as it was."""


@dataclass
class Api:
    """What was asked, and what is stored. `refuse` has (status, reason) for the next requests, by their method."""

    operator: Operator
    port: int = 0
    objects: dict[str, Object] = field(default_factory=dict)
    reads: dict[str, int] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    refuse: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Object]:
        self.requests.append((method, path))
        if self.refuse.get(method):
            status, reason = self.refuse[method].pop(0)
            if reason == "LostAnswer":  # it is done all the same
                self._done(method, path, body)
            return status, {"kind": "Status", "reason": reason, "message": f"no {method} today"}
        return self._done(method, path, body)

    def _done(self, method: str, path: str, body: Any) -> tuple[int, Object]:
        name = path.rsplit("/", 1)[1]
        if method == "POST":
            key = f"{path}/{body['metadata']['name']}"
            if key in self.objects:
                return 409, {"kind": "Status", "reason": "AlreadyExists", "message": "there is one"}
            self.objects[key] = body
            return 201, body
        found = self.objects.get(path)
        if found is None:
            return 404, {"kind": "Status", "reason": "NotFound", "message": f"{name} not found"}
        if method == "PATCH":
            found["spec"] |= body["spec"]
            return 200, found
        self.reads[path] = self.reads.get(path, 0) + 1
        found["status"] = self.operator(found, self.reads[path]) or found.get("status", {})
        return 200, found


@contextmanager
def api(root: Path, operator: Operator) -> Iterator[Api]:
    """Serve, for a pod whose files are below `root`."""
    served = Api(operator)
    door = ApiDoor(root, served.answer)
    door.start()
    served.port = door.port
    try:
        yield served
    finally:
        door.stop()
