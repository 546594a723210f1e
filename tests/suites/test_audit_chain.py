"""A chain verifies as the platform made it, and not when anything of it is changed, missing or moved."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from suites.t06_multitenant.chain import ORIGIN, first_break

Rows = list[dict[str, Any]]
TENANT = "db3be5ac-f8d2-49ee-824b-ed5234719d2a"
HASHES = [
    "e5cad47be827d90d053fd2ac15842839aa20a43c87f5d4e3fbe0691e496fd8b0",
    "6f927840abd4b36663c35f1d09fbe695cc8ffc38ad76c771eb9ed101cda6adf9",
    "cccf104284236705ca74bb5ef16385694ab2ca24eb08f3e29b4d3fab721da3e2",
]
"""As a platform had computed them."""
ALL = "messages:write episodes:read orders:read orders:write"
ENTRIES = [
    ("358421", "tenant.make", f"tenant/{TENANT}", {"mode": "MOCK"}),
    (
        "360461",
        "key.make",
        "user/alice",
        {"scopes": f"{ALL} leads:read leads:write documents:read documents:write usage:read"},
    ),
    ("362542", "key.make", "user/user-omcjmgbhwhnnt", {"scopes": f"{ALL} documents:read documents:write"}),
]


def rows() -> Rows:
    """Entries as PostgreSQL gives them as JSON."""
    return [
        {
            "tenant_id": TENANT,
            "sequence": number + 1,
            "at": f"2026-11-24T19:28:19.{micros}+00:00",
            "actor": "admin",
            "action": action,
            "subject": subject,
            "payload": copy.deepcopy(payload),
            "previous": f"\\x{HASHES[number - 1] if number else ORIGIN}",
            "hash": f"\\x{HASHES[number]}",
        }
        for number, (micros, action, subject, payload) in enumerate(ENTRIES)
    ]


def test_what_a_platform_made_is_a_chain() -> None:
    assert first_break(rows()) is None
    assert first_break([]) is None


def test_a_moment_is_the_same_in_any_zone() -> None:
    elsewhere = rows()
    elsewhere[0]["at"] = "2026-11-24T20:28:19.358421+01:00"
    assert first_break(elsewhere) is None


def _set(number: int, **columns: Any) -> Callable[[Rows], None]:
    return lambda entries: entries[number].update(columns)


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (_set(0, payload={"mode": "GOLDEN"}), "entry 1 (tenant.make) was changed"),
        (_set(1, payload={}), "entry 2 (key.make) was changed"),
        (_set(1, actor="nobody"), "entry 2 (key.make) was changed"),
        (_set(2, at="2026-11-24T19:28:19.362543+00:00"), "entry 3 (key.make) was changed"),
        (_set(2, subject="user/bob"), "entry 3 (key.make) was changed"),
        (_set(1, hash="\\x" + "00" * 32), "entry 2 (key.make) was changed"),
        (_set(2, previous="\\x" + "00" * 32), "entry 3 does not follow"),
        (lambda entries: entries.pop(1), "entry 2 is missing"),
        (lambda entries: entries.pop(0), "entry 1 is missing"),
        (lambda entries: entries.reverse(), "entry 1 is missing"),
    ],
)
def test_tampering_is_seen_where_it_was(tamper: Callable[[Rows], None], says: str) -> None:
    entries = rows()
    tamper(entries)
    found = first_break(entries)
    assert found is not None
    assert found.startswith(says)
