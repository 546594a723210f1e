"""How a refusal must look, and what a tenant has before and after it."""

from collections import Counter
from typing import Any

import httpx
from _fixtures.shops import Shop
from _helpers.properties import Property, check
from t02_contract.baseline import CODES

FIELDS = {"type", "title", "status", "code", "detail", "errors"}


def check_problem(response: httpx.Response, code: str, what: str) -> None:
    """The answer is a problem with this code and its status. `what` was sent, in a few words."""
    status = response.status_code
    check(status < 500, Property.NO_SERVER_ERROR, f"{what} gave {status}, expected {CODES[code]} {code}")
    media = response.headers.get("Content-Type", "none")
    seen: dict[str, Any] = {}
    if media == "application/problem+json":
        seen = response.json()
    told = (status, media, seen.get("code"), seen.get("status"))
    expected = (CODES[code], "application/problem+json", code, CODES[code])
    check(told == expected, Property.PROBLEM_CODE, f"{what} gave {told}, expected {expected}")
    check(set(seen) == FIELDS, Property.PROBLEM_CODE, f"{what}: a problem with {sorted(seen)}, not {sorted(FIELDS)}")


def everything(shop: Shop) -> dict[str, Counter[str]]:
    """All rows of the tenant; two of them are equal if nothing has changed."""
    return shop.database.snapshot(shop.tenant_id, bookkeeping=True)


def check_unchanged(shop: Shop, before: dict[str, Counter[str]], what: str) -> None:
    """Nothing has changed since `before`."""
    after = everything(shop)
    changed = sorted(table for table in before if before[table] != after[table])
    check(not changed, Property.REFUSED_UNCHANGED, f"{what} changed the tables {changed}, expected none")
