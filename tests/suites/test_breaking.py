"""The diff of OpenAPI documents flags every edit that breaks a client, and no other."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from suites.t02_contract.breaking import breaking_changes

Document = dict[str, Any]

ORDER = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "number": {"type": "string", "format": "uuid"},
        "status": {"type": "string", "enum": ["placed", "paid"]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["number", "status"],
}
WISH = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "sku": {"type": "string", "maxLength": 64, "pattern": "^[a-z]+$"},
        "quantity": {"type": "integer", "minimum": 1, "maximum": 100},
        "channel": {"$ref": "#/components/schemas/Channel"},
        "due": {"type": "string", "format": "date-time"},
        "gift": {"anyOf": [{"$ref": "#/components/schemas/Wish"}, {"type": "null"}]},
    },
    "required": ["sku"],
}
BASE: Document = {
    "openapi": "3.1.0",
    "paths": {
        "/orders": {
            "get": {
                "parameters": [{"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 100}}],
                "responses": {
                    "200": {
                        "description": "Orders",
                        "content": {
                            "application/json": {
                                "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Order"}}
                            }
                        },
                    }
                },
            },
            "post": {
                "security": [{"key": []}],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Wish"}},
                        "text/csv": {"schema": {"type": "string"}},
                    },
                },
                "responses": {
                    "201": {
                        "description": "Made",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}},
                    },
                    "409": {"description": "Refused"},
                },
            },
        }
    },
    "components": {
        "schemas": {
            "Order": ORDER,
            "Wish": WISH,
            "Channel": {"type": "string", "enum": ["web", "mail"]},
        },
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
    },
}


def order(document: Document) -> Document:
    found: Document = document["components"]["schemas"]["Order"]
    return found


def wish(document: Document) -> Document:
    found: Document = document["components"]["schemas"]["Wish"]
    return found


def post(document: Document) -> Document:
    found: Document = document["paths"]["/orders"]["post"]
    return found


def get(document: Document) -> Document:
    found: Document = document["paths"]["/orders"]["get"]
    return found


Edit = Callable[[Document], object]

BREAKING: dict[str, tuple[Edit, str]] = {
    "removed operation": (lambda d: d["paths"]["/orders"].pop("get"), "GET /orders: the operation is gone"),
    "new required field": (lambda d: wish(d)["required"].append("quantity"), "body.quantity is required"),
    "type changed": (lambda d: wish(d)["properties"]["quantity"].update(type="string"), "body.quantity: the type"),
    "enum value removed": (
        lambda d: d["components"]["schemas"]["Channel"]["enum"].remove("mail"),
        "body.channel: of the enumeration ['web'], ['mail'] is none",
    ),
    "response field removed": (lambda d: order(d)["properties"].pop("note"), "answer.note is gone"),
    "status removed": (lambda d: post(d)["responses"].pop("409"), "the status 409 is gone"),
    "narrowed max": (lambda d: wish(d)["properties"]["quantity"].update(maximum=50), "body.quantity: maximum 50"),
    "format changed": (lambda d: wish(d)["properties"]["due"].update(format="date"), "body.due: another format"),
    "auth added": (lambda d: get(d).update(security=[{"key": []}]), "credentials are asked for"),
    "media type removed": (
        lambda d: post(d)["requestBody"]["content"].pop("text/csv"),
        "the media type text/csv of the body is gone",
    ),
    "field of a request removed": (lambda d: wish(d)["properties"].pop("due"), "body.due is unknown"),
    "field of an answer optional": (lambda d: order(d)["required"].remove("status"), "answer.status is required"),
    "type of an answer widened": (
        lambda d: order(d)["properties"].update(number={"type": ["string", "null"], "format": "uuid"}),
        "answer.number: the type",
    ),
    "enum value of an answer added": (
        lambda d: order(d)["properties"]["status"]["enum"].append("lost"),
        "answer.status: of the enumeration",
    ),
    "enum value renamed": (
        lambda d: d["components"]["schemas"]["Channel"].update(enum=["web", "email"]),
        "['mail'] is none",
    ),
    "null no longer taken": (
        lambda d: wish(d)["properties"].update(gift={"$ref": "#/components/schemas/Wish"}),
        "body.gift: the type",
    ),
    "a bound where none was": (lambda d: wish(d)["properties"]["sku"].update(minLength=3), "body.sku: minLength 3"),
    "another pattern": (lambda d: wish(d)["properties"]["sku"].update(pattern="^[A-Z]+$"), "another pattern"),
    "parameter removed": (lambda d: get(d)["parameters"].clear(), "parameter limit (query) is gone"),
    "parameter required": (lambda d: get(d)["parameters"][0].update(required=True), "limit (query) is required"),
    "new required parameter": (
        lambda d: get(d)["parameters"].append({"name": "X-Day", "in": "header", "required": True, "schema": {}}),
        "parameter x-day (header) is new and required",
    ),
    "media type of an answer removed": (
        lambda d: get(d)["responses"]["200"].update(content={"text/csv": {}}),
        "200: the media type application/json is gone",
    ),
    "body removed": (lambda d: d["paths"]["/orders"]["post"].update(requestBody=None), "the body is gone"),
}
HARMLESS: dict[str, Edit] = {
    "nothing": lambda d: None,
    "new operation": lambda d: d["paths"].update({"/health": {"get": {"responses": {"200": {"description": "ok"}}}}}),
    "new optional field of a request": lambda d: wish(d)["properties"].update(color={"type": "string"}),
    "new field of an answer": lambda d: order(d)["properties"].update(color={"type": "string"}),
    "optional parameter": lambda d: get(d)["parameters"].append({"name": "after", "in": "query", "schema": {}}),
    "required field of a request optional": lambda d: wish(d)["required"].remove("sku"),
    "optional field of an answer always there": lambda d: order(d)["required"].append("note"),
    "wider max": lambda d: wish(d)["properties"]["quantity"].update(maximum=1000),
    "no max": lambda d: wish(d)["properties"]["quantity"].pop("maximum"),
    "integers may be fractions": lambda d: wish(d)["properties"]["quantity"].update(type="number"),
    "enum value of a request added": lambda d: d["components"]["schemas"]["Channel"]["enum"].append("phone"),
    "enum value of an answer never sent": lambda d: order(d)["properties"]["status"]["enum"].remove("paid"),
    "new status": lambda d: post(d)["responses"].update({"429": {"description": "Later"}}),
    "another media type": lambda d: post(d)["requestBody"]["content"].update({"application/xml": {}}),
    "auth removed": lambda d: post(d).pop("security"),
    "texts": lambda d: (order(d).update(title="An order"), post(d).update(summary="Order", operationId="buy")),
    "a reference inlined": lambda d: wish(d)["properties"].update(channel=d["components"]["schemas"]["Channel"]),
    "parameters in another order": lambda d: get(d)["parameters"].reverse(),
}


@pytest.mark.parametrize("name", BREAKING)
def test_breaking_edit_is_flagged(name: str) -> None:
    edit, expected = BREAKING[name]
    new = copy.deepcopy(BASE)
    edit(new)
    changes = breaking_changes(BASE, new)
    assert any(expected in change for change in changes), changes


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_edit_is_not(name: str) -> None:
    new = copy.deepcopy(BASE)
    HARMLESS[name](new)
    assert breaking_changes(BASE, new) == []


def test_a_real_document() -> None:
    """Whatever operation of the pinned document goes, it is missed; and the document does not break itself."""
    pinned = json.loads((Path(__file__).parents[2] / "suites/t02_contract/openapi.json").read_text(encoding="utf-8"))
    assert breaking_changes(pinned, pinned) == []
    for path, item in pinned["paths"].items():
        for method in item:
            new = copy.deepcopy(pinned)
            del new["paths"][path][method]
            assert breaking_changes(pinned, new) == [f"{method.upper()} {path}: the operation is gone"]
