"""The live OpenAPI document keeps what the pinned one promises, and is as strict."""

from typing import Any

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform
from _helpers.properties import Property, check
from t02_contract.baseline import CODES, DOCUMENT
from t02_contract.breaking import breaking_changes


@pytest.fixture
def live(platform: Platform) -> dict[str, Any]:
    response = platform.http.get("/openapi.json")
    seen = f"GET /openapi.json gave {response.status_code}, expected 200"
    check(response.status_code == 200, Property.CONTRACT_STABLE, seen)
    document: dict[str, Any] = response.json()
    missing = {"openapi", "paths", "components"} - document.keys()
    check(not missing, Property.CONTRACT_STABLE, f"the OpenAPI document has no {sorted(missing)}")
    return document


def test_no_breaking_change(live: dict[str, Any], evidence: Evidence) -> None:
    """Nothing that a client of the pinned document does stops working."""
    changes = breaking_changes(DOCUMENT, live)
    check(not changes, Property.CONTRACT_STABLE, f"{len(changes)} breaking changes, first: {''.join(changes[:1])}")
    evidence("compared", sum(map(len, DOCUMENT["paths"].values())))


def test_every_operation_is_pinned(live: dict[str, Any]) -> None:
    """An operation that this suite does not know is one that it does not test."""
    pinned, served = ({(path, m) for path, item in d["paths"].items() for m in item} for d in (DOCUMENT, live))
    check(served <= pinned, Property.CONTRACT_STABLE, f"not in the baseline: {sorted(served - pinned)}")
    check(bool(served), Property.CONTRACT_STABLE, "the document has 0 operations")


def test_every_object_is_closed(live: dict[str, Any]) -> None:
    """A schema with fields of its own says that there are no others."""
    schemas = live["components"].get("schemas", {})
    check(bool(schemas), Property.UNKNOWN_FIELD, "the document has 0 schemas")
    left_open = [
        name for name, schema in schemas.items() if "properties" in schema and schema.get("additionalProperties", True)
    ]
    check(not left_open, Property.UNKNOWN_FIELD, f"schemas that take any field: {left_open}")


def test_every_refusal_is_described(live: dict[str, Any]) -> None:
    """Each operation says that it may refuse with a problem, and the codes are those of the catalog."""
    body = live["components"].get("schemas", {}).get("ProblemBody", {})
    codes = body.get("properties", {}).get("code", {}).get("enum", [])
    check(sorted(codes) == sorted(CODES), Property.PROBLEM_CODE, f"codes of the document that differ: {_odd(codes)}")
    for path, item in live["paths"].items():
        for method, operation in item.items():
            for status in map(str, set(CODES.values()) - {405}):
                media = list(operation["responses"].get(status, {}).get("content", {}))
                seen = f"{method.upper()} {path} describes {status} as {media}, expected application/problem+json"
                check(media == ["application/problem+json"], Property.PROBLEM_CODE, seen)


def _odd(codes: list[str]) -> list[str]:
    return sorted(set(codes) ^ set(CODES))
