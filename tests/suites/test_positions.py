"""Every place for a name in an OpenAPI document is found, and asked with in an otherwise usual request."""

from typing import Any

import pytest
from suites.t06_multitenant.positions import Document

NAME = {"type": "string", "pattern": "^[a-z-]{1,20}$"}
UUID = "6f0e7a52-51b5-4c29-9c1c-0b8f6c0f6a11"
DOCUMENT: dict[str, Any] = {
    "paths": {
        "/v1/orders/{order}": {
            "get": {
                "operationId": "get_order",
                "parameters": [
                    {"name": "order", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}},
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 9}},
                    {"name": "Key", "in": "header", "schema": {"anyOf": [{"type": "null"}, NAME]}},
                ],
            }
        },
        "/v1/admin/notes": {
            "post": {
                "operationId": "note",
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Notes"}}}},
            }
        },
    },
    "components": {
        "schemas": {
            "Notes": {
                "type": "object",
                "required": ["notes", "kind"],
                "properties": {
                    "notes": {"type": "array", "items": {"$ref": "#/components/schemas/Note"}},
                    "kind": {"enum": ["short", "long"], "type": "string"},
                    "version": {"const": 1, "type": "integer"},
                    "loud": {"type": "boolean"},
                },
            },
            "Note": {
                "type": "object",
                "required": ["text"],
                "properties": {
                    "text": {"type": "string", "maxLength": 9},
                    "readers": {"anyOf": [{"type": "array", "items": NAME}, {"type": "null"}]},
                },
            },
        }
    },
}
FOUND = {position.where: position for position in Document(DOCUMENT).positions()}


def test_every_place_is_found_once() -> None:
    assert list(FOUND) == [
        "get_order path order",
        "get_order query limit",
        "get_order header Key",
        "note body notes.0.text",
        "note body notes.0.readers.0",
    ]
    assert [position.is_admin for position in FOUND.values()] == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("where", "admitted", "refused"),
    [
        ("get_order path order", [UUID], ["word", 1]),
        ("get_order query limit", [1, 9], [0, 10, "word"]),
        ("get_order header Key", ["a-word"], ["A word", UUID, 1]),
        ("note body notes.0.text", ["A word"], ["ten letters", UUID, 1]),
    ],
)
def test_a_place_admits_what_its_schema_does(where: str, admitted: list[Any], refused: list[Any]) -> None:
    assert [FOUND[where].admits(name) for name in admitted] == [True] * len(admitted)
    assert [FOUND[where].admits(name) for name in refused] == [False] * len(refused)


def test_the_rest_of_a_request_is_the_least_that_is_needed() -> None:
    ask = Document(DOCUMENT).request
    usual = {"order": UUID}
    expected = ("GET", f"/v1/orders/{UUID}", {"params": {"limit": "3"}, "headers": {}})
    assert ask(FOUND["get_order query limit"], 3, usual) == expected
    method, path, sent = ask(FOUND["note body notes.0.readers.0"], "ann", {"text": "Hello"})
    assert (method, path) == ("POST", "/v1/admin/notes")
    assert sent["json"] == {"notes": [{"text": "Hello", "readers": ["ann"]}], "kind": "short"}


def test_a_need_of_which_nothing_is_known_is_named() -> None:
    with pytest.raises(RuntimeError, match="wants a 'order' that nothing is known of"):
        Document(DOCUMENT).request(FOUND["get_order query limit"], 3, {})
