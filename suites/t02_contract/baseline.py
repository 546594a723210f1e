"""The pinned contract: what the operations of the gateway were when the baseline was last taken (openapi.json).

Tests are made from it, not from the live document, so that a suite is collected without a platform and an operation
that is gone is a test that fails. suites/README.md says how the baseline is taken again.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parent / "openapi.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Operation:
    """One operation of the document."""

    id: str
    method: str
    path: str
    definition: dict[str, Any]

    @property
    def is_admin(self) -> bool:
        """Whether it asks for the bootstrap key."""
        return self.path.startswith("/v1/admin/")

    @property
    def body(self) -> dict[str, Any] | None:
        """The schema of its JSON body."""
        content = self.definition.get("requestBody", {}).get("content", {})
        schema: dict[str, Any] | None = content.get("application/json", {}).get("schema")
        return schema


OPERATIONS = [
    Operation(definition["operationId"], method, path, definition)
    for path, item in DOCUMENT["paths"].items()
    for method, definition in item.items()
]
WITH_BODY = [operation for operation in OPERATIONS if operation.body]
CODES: dict[str, int] = json.loads((Path(__file__).parent / "codes.json").read_text(encoding="utf-8"))
"""Every code of a problem that clients may branch on, with its status."""


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema with its reference followed; of `anyOf` the alternative that is not null."""
    while True:
        if "$ref" in schema:
            schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        elif "anyOf" in schema:
            schema = next(alternative for alternative in schema["anyOf"] if alternative.get("type") != "null")
        else:
            return schema


def objects_in(schema: dict[str, Any], body: Any, where: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The places in a body at which the schema has an object with fields of its own; () is the body."""
    schema = resolve(schema)
    found = []
    if isinstance(body, dict) and "properties" in schema:
        found.append(where)
        for name, value in body.items():
            found += objects_in(schema["properties"].get(name, {}), value, (*where, name))
    elif isinstance(body, list) and body and "items" in schema:
        found += objects_in(schema["items"], body[0], (*where, 0))
    return found
