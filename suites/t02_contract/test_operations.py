"""Every operation under generated requests: what its schema allows is served, what it forbids is refused."""

import random

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform
from _helpers.properties import Property, check
from t02_contract.baseline import OPERATIONS, Operation
from t02_contract.explore import EXAMPLES, explore
from t02_contract.world import World

FIRST = {"not_a_server_error": Property.NO_SERVER_ERROR, "ignored_auth": Property.AUTHENTICATION}
"""Checks of schemathesis that have a property of their own; all others are about what the document promises."""
READING = {"get_record", "replay", "list_conversations", "list_messages", "get_episode", "list_leads", "list_orders"}
READING |= {"get_order", "get_shipment", "get_usage", "search_documents", "inspect_texts"}
"""Operations that change nothing, so that all of them can have the common world."""
TOLD = {"send_message", "replay"}
"""Operations whose generated texts reach the model."""
EACH = [
    pytest.param(operation, id=operation.id, marks=[pytest.mark.mock_only] if operation.id in TOLD else [])
    for operation in OPERATIONS
]


@pytest.mark.parametrize("operation", EACH)
def test_operation(
    request: pytest.FixtureRequest, platform: Platform, seeded: random.Random, evidence: Evidence, operation: Operation
) -> None:
    """At least 100 cases and one success; no check of schemathesis fails and nothing is warned of."""
    world: World = request.getfixturevalue("world" if operation.id in READING else "own_world")
    world.prepare(operation)
    values, body = world.values(operation), world.body(operation)
    key = world.caller(operation).key
    found = explore(operation, platform.target.gateway, key, values, body, seeded.getrandbits(32))
    world.made += [made["tenant_id"] for made in found.made if "tenant_id" in made]
    evidence("examples", found.cases)
    evidence("operations", int(found.accepted > 0))
    for name, prop in FIRST.items():
        failures = [message for failed, message in found.failures if failed == name]
        check(not failures, prop, f"{len(failures)} failures of {name}, first: {''.join(failures[:1])}")
    failures = [f"{failed}: {message}" for failed, message in found.failures if failed not in FIRST]
    check(not failures, Property.CONTRACT_STABLE, f"{len(failures)} failures, first: {''.join(failures[:1])}")
    check(not found.warnings, Property.CONTRACT_STABLE, f"schemathesis warns of {found.warnings}")
    check(found.accepted > 0, Property.CONTRACT_STABLE, f"0 of {found.cases} cases were answered with success")
    check(found.cases >= EXAMPLES, Property.CONTRACT_STABLE, f"{found.cases} cases, expected {EXAMPLES} at least")
