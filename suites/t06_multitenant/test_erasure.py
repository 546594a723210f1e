"""Data that is nobody's any more, or that should not have been kept, is nowhere."""

import random
from contextlib import ExitStack

import httpx
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Shop
from _helpers.properties import Property, check
from t06_multitenant.chain import first_break
from t06_multitenant.neighbors import settle

CARDS = ("4111 1111 1111 1111", "5500 0000 0000 0004", "3400 0000 0000 009")
"""Numbers of networks for tests, with the right check digits."""


def test_removed_tenant_leaves_its_audit_chain_only(
    platform: Platform, seeded: random.Random, evidence: Evidence
) -> None:
    """No table has a row of it but the audit, whose chain verifies, ends with the removal and has no word of it."""
    with ExitStack() as stack:
        gone = settle(platform, stack, 0, seeded.getrandbits(32))
        tables = sorted(platform.database.tables)
        before = {table: len(platform.database.rows(table, gone.tenant_id)) for table in tables}
        empty = [table for table, count in before.items() if not count]
        check(not empty, Property.GOAL_STATE, f"{empty} have no row of a tenant that did everything")
    left = {table: rows for table in tables if (rows := platform.database.rows(table, gone.tenant_id))}
    kept = sorted(left.keys() - {"audit"})
    check(not kept, Property.TENANT_ERASED, f"rows of a removed tenant are left in {kept}, expected in none")
    entries = sorted(left.get("audit", []), key=lambda row: int(row["sequence"]))
    last = entries[-1]["action"] if entries else None
    check(last == "tenant.remove", Property.AUDIT_COMPLETE, f"the last entry of a removed tenant is {last}")
    broken = first_break(entries)
    check(broken is None, Property.AUDIT_CHAIN, f"{broken}, in the chain of a removed tenant")
    refused = gone.alice.request("GET", "/v1/orders").status_code
    check(refused == 401, Property.AUTHENTICATION, f"a key of a removed tenant gave {refused}, expected 401")
    evidence("rows", sum(before.values()))


def test_personal_data_of_a_customer_is_in_no_tenants_rows(
    shop: Shop, platform: Platform, seeded: random.Random, evidence: Evidence
) -> None:
    """What one customer writes of a person is in no row of the own tenant and of another that is served meanwhile."""
    address = f"ann.{seeded.getrandbits(40):x}@mail.example"
    card = seeded.choice(CARDS)
    with platform.open_shop(seeded.getrandbits(32)) as other:
        for text in (
            f"Please answer to {address}",
            f"My card is {card}",
            "I want to talk to a human, write to " + address,
        ):
            shop.alice.say(text)
            other.alice.say("How can I pay?")
        for tenant in (shop, other):
            for table in sorted(platform.database.tables):
                rows = str(platform.database.rows(table, tenant.tenant_id))
                found = [value for value in (address, card, card.replace(" ", "")) if value in rows]
                check(not found, Property.PII_MESSAGE, f"{len(found)} values of a person are in {table}, expected none")
    redacted = sum("[email]" in row["content"] for row in shop.rows("messages", role="user"))
    check(redacted == 2, Property.PII_MESSAGE, f"{redacted} messages say that an address was there, expected 2")
    evidence("canaries", 2)


def test_refusals_tell_nothing_of_who_else_is_there(platform: Platform, shop: Shop, seeded: random.Random) -> None:
    """A key that names a tenant which is there is refused like one of a tenant that never was."""
    tail = shop.alice.key.rpartition("_")[2][::-1]
    there, nowhere = shop.tenant_id.replace("-", ""), f"{seeded.getrandbits(128):032x}"
    answers: list[httpx.Response] = []
    for tenant in (there, nowhere):
        key = {"Authorization": f"Bearer bzr_{tenant}_{tail}"}
        answers.append(platform.http.get("/v1/orders", headers=key))
    known, unknown = ((answer.status_code, answer.text) for answer in answers)
    check(known == unknown, Property.TENANT_EXISTENCE, f"refused by {known[0]} and {unknown[0]}, in other words")
    check(known[0] == 401, Property.AUTHENTICATION, f"a wrong key gave {known[0]}, expected 401")


def test_tenants_may_have_equal_names(platform: Platform, shop: Shop, seeded: random.Random) -> None:
    """What one tenant calls its things is free to another: users, products, documents, keys."""
    key = {"Idempotency-Key": f"key-{seeded.getrandbits(64):x}"}
    asked = {"text": "How can I pay?"}, {"sku": "mug", "quantity": 2}
    with platform.open_shop(seeded.getrandbits(32)) as twin:
        for one in (shop, twin):
            for path, body, expected in (("/v1/messages", asked[0], 202), ("/v1/orders", asked[1], 201)):
                status = one.alice.request("POST", path, json=body, headers=key).status_code
                seen = f"POST {path} with another tenant's Idempotency-Key gave {status}, expected {expected}"
                check(status == expected, Property.TENANT_EXISTENCE, seen)
            orders = len(one.rows("orders"))
            check(orders == 1, Property.GOAL_STATE, f"{orders} orders of a tenant that ordered once")
