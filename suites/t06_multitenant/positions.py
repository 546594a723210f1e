"""Every place in which a request can carry somebody's name, as the platform's own OpenAPI document tells them.

A new operation or field is probed from the day on which the platform describes it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

Schema = dict[str, Any]
Trail = tuple[str | int, ...]
Value = str | int


@dataclass(frozen=True)
class Position:
    """One place of one operation: a parameter of a path, the query or a header, or a field of a body."""

    operation: str
    method: str
    path: str
    place: str
    """path, query, header or body"""
    trail: Trail
    """The parameter's name, or the way to the field."""
    schema: Schema = field(repr=False)
    definition: Schema = field(repr=False)
    """The operation as it is described."""

    @property
    def is_admin(self) -> bool:
        """Whether it is a door that no tenant has."""
        return self.path.startswith("/v1/admin/")

    @property
    def where(self) -> str:
        """The place in words."""
        return f"{self.operation} {self.place} {'.'.join(map(str, self.trail))}"

    def admits(self, value: Value) -> bool:
        """Whether its schema lets a name pass. A text takes any word, a UUID only where one is asked for."""
        return _admits(self.schema, value)


class Document:
    """An OpenAPI document, and how to ask for what it describes."""

    def __init__(self, document: Schema) -> None:
        self._document = document

    def positions(self) -> list[Position]:
        """All places that can hold a text or a whole number, in the document's order."""
        return [position for path, item in self._document["paths"].items() for position in self._of_path(path, item)]

    def request(self, position: Position, value: Value, usual: Mapping[str, Value]) -> tuple[str, str, Schema]:
        """A request with `value` in a position and in the others what is usual, by their names.

        Gives the method, the path and further arguments as httpx takes them. Raises RuntimeError for a required text
        with a pattern of which nothing usual is known.
        """
        arguments: dict[str, dict[str, str]] = {"path": {}, "query": {}, "header": {}}
        for parameter in position.definition.get("parameters", []):
            here = (position.place, position.trail[0]) == (parameter["in"], parameter["name"])
            if here or parameter.get("required"):
                given = value if here else self._usual(parameter["schema"], parameter["name"], usual)
                arguments[parameter["in"]][parameter["name"]] = str(given)
        body = _body(position.definition)
        trail = position.trail if position.place == "body" else None
        sent: Schema = {"params": arguments["query"], "headers": arguments["header"]}
        if body is not None:
            sent["json"] = self._fill(body, "", trail, value, usual)
        return position.method.upper(), position.path.format_map(arguments["path"]), sent

    def _of_path(self, path: str, item: Schema) -> Iterator[Position]:
        for method, definition in item.items():
            about = definition["operationId"], method, path
            for parameter in definition.get("parameters", []):
                for _, leaf in self._leaves(parameter["schema"]):
                    yield Position(*about, parameter["in"], (parameter["name"],), leaf, definition)
            for trail, leaf in self._leaves(_body(definition) or {}):
                yield Position(*about, "body", trail, leaf, definition)

    def _leaves(self, schema: Schema, trail: Trail = ()) -> Iterator[tuple[Trail, Schema]]:
        schema = self._resolved(schema)
        for name, inner in schema.get("properties", {}).items():
            yield from self._leaves(inner, (*trail, name))
        if "items" in schema:
            yield from self._leaves(schema["items"], (*trail, 0))
        if schema.get("type") in ("string", "integer") and not {"enum", "const"} & schema.keys():
            yield trail, schema

    def _resolved(self, schema: Schema) -> Schema:
        """With references followed; of alternatives the first that is not null."""
        while "$ref" in schema or "anyOf" in schema:
            if "$ref" in schema:
                schema = self._document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            else:
                schema = next(one for one in schema["anyOf"] if one.get("type") != "null")
        return schema

    def _fill(self, schema: Schema, name: str, trail: Trail | None, value: Value, usual: Mapping[str, Value]) -> Any:
        """The least that fits a schema, with `value` at the end of the trail."""
        schema = self._resolved(schema)
        if trail == ():
            return value
        first, rest = (trail[0], trail[1:]) if trail else (None, None)
        if schema.get("type") == "object":
            wanted = [n for n in schema.get("properties", {}) if n == first or n in schema.get("required", ())]
            inner = schema.get("properties", {})
            return {n: self._fill(inner[n], n, rest if n == first else None, value, usual) for n in wanted}
        if schema.get("type") == "array":
            fewest = 1 if trail else schema.get("minItems", 0)
            return [self._fill(schema["items"], name, rest, value, usual) for _ in range(fewest)]
        return self._usual(schema, name, usual)

    def _usual(self, schema: Schema, name: str, usual: Mapping[str, Value]) -> Any:
        schema = self._resolved(schema)
        known = usual.get(name.lower())
        if known is not None:
            return known
        for word in ("const", "default"):
            if word in schema:
                return schema[word]
        if "enum" in schema:
            return schema["enum"][0]
        if schema.get("type") == "integer":
            return int(schema.get("minimum", 1))
        if "type" not in schema or _admits(schema, "usual"):
            return "usual"
        raise RuntimeError(f"the document wants a {name!r} that nothing is known of: {schema}")


def _body(definition: Schema) -> Schema | None:
    content: Schema = definition.get("requestBody", {}).get("content", {})
    schema: Schema | None = content.get("application/json", {}).get("schema")
    return schema


def _admits(schema: Schema, value: Value) -> bool:
    if isinstance(value, int):
        least, most = schema.get("minimum", value), schema.get("maximum", value)
        return bool(schema["type"] == "integer" and least <= value <= most)
    if schema["type"] != "string" or len(value) > schema.get("maxLength", len(value)):
        return False
    if schema.get("format") in (None, "uuid"):
        return _is_uuid(value) == (schema.get("format") == "uuid") and bool(re.search(schema.get("pattern", ""), value))
    return False


def _is_uuid(value: str) -> bool:
    try:
        UUID(value)
    except ValueError:
        return False
    return True
