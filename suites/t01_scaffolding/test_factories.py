"""What the factories make: the same from the same seed, nobody else's, and taken by the platform as it is."""

import hashlib
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random

from _fixtures.evidence import Evidence
from _fixtures.factories import World, make_world
from _helpers.client import accepted
from _helpers.properties import Property, check
from t01_scaffolding.tenants import MoveIn

WORLDS, OBJECTS = 400, 10_000
DIGEST = "a2a404d3665343528e9cb742042440058359ada823622613f832313b8545638c"
"""SHA-256 of the worlds of the seeds 0 to 399 as JSON. Another one is another world for every recorded cassette."""
SAMPLE = 8


def digest(worlds: list[World]) -> str:
    text = json.dumps([list(world.objects()) for world in worlds], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def test_same_seeds_make_the_same_objects(evidence: Evidence) -> None:
    """10,000 objects are those that were made when the digest was written, in another process and elsewhere."""
    worlds = [make_world(seed) for seed in range(WORLDS)]
    made = sum(len(list(world.objects())) for world in worlds)
    check(made == OBJECTS, Property.FACTORY, f"{made} objects, expected {OBJECTS}")
    seen = digest(worlds)
    check(seen == DIGEST, Property.FACTORY, f"{OBJECTS} objects have the digest {seen[:16]}, expected {DIGEST[:16]}")
    named = Counter(name for world in worlds for name in world.names())
    twice = [name for name, count in named.items() if count > 1]
    check(not twice, Property.FACTORY, f"{len(twice)} names are in two tenants, such as {twice[:1]}, expected 0")
    evidence("objects", made)


def test_order_of_making_does_not_count(seeded: Random) -> None:
    """A world follows from its seed alone: not from what was made before or at the same time."""
    seeds = [seeded.getrandbits(53) for _ in range(20)]
    expected = digest([make_world(seed) for seed in seeds])
    with ThreadPoolExecutor(4) as pool:
        at_once = dict(zip(reversed(seeds), pool.map(make_world, reversed(seeds)), strict=True))
    check(digest([at_once[seed] for seed in seeds]) == expected, Property.FACTORY, "worlds made at once differ")


def test_tenants_of_made_worlds_share_nothing(move_in: MoveIn, seeded: Random, evidence: Evidence) -> None:
    """The platform makes each world another tenant, with the users and products of that world and no others."""
    residents = [move_in(make_world(seeded.getrandbits(53)), "MOCK") for _ in range(SAMPLE)]
    ids = {resident.tenant.tenant_id for resident in residents}
    check(len(ids) == SAMPLE, Property.FACTORY, f"{len(ids)} tenants of {SAMPLE} worlds")
    keys = {user.key for resident in residents for user in resident.users}
    check(len(keys) == 2 * SAMPLE, Property.FACTORY, f"{len(keys)} keys of {2 * SAMPLE} users")
    for resident in residents:
        world = resident.world
        for table, column, made in (
            ("users", "user_id", [user["name"] for user in world.users]),
            ("products", "sku", [product["sku"] for product in world.products]),
            ("documents", "document_id", [document["document_id"] for document in world.documents]),
        ):
            stored = sorted(row[column] for row in resident.rows(table))
            check(stored == sorted(made), Property.FACTORY, f"{table} has {stored}, expected {sorted(made)}")
            evidence("rows", len(stored))


def test_products_are_stored_as_they_were_made(move_in: MoveIn, seeded: Random) -> None:
    """Names, prices and stock in the database are those of the factory."""
    resident = move_in(make_world(seeded.getrandbits(53)), "MOCK")
    for product in resident.world.products:
        (row,) = resident.rows("products", sku=product["sku"]) or [{}]
        (stock,) = resident.rows("stock", sku=product["sku"]) or [{}]
        stored = (row.get("name"), row.get("price_cents"), stock.get("available"))
        expected = (product["name"], product["price_cents"], product["stock"])
        check(stored == expected, Property.FACTORY, f"{product['sku']} is {stored}, expected {expected}")


def test_made_orders_and_messages_are_accepted(move_in: MoveIn, seeded: Random, evidence: Evidence) -> None:
    """Every order becomes a row with its quantity and price, and every message comes to its end."""
    resident = move_in(make_world(seeded.getrandbits(53)), "MOCK")
    user, world = resident.users[1], resident.world
    for number, order in enumerate(world.orders):
        placed = user.request("POST", "/v1/orders", json=order, headers={"Idempotency-Key": f"order-{number}"})
        check(placed.status_code == 201, Property.FACTORY, f"POST /v1/orders gave {placed.status_code}, expected 201")
    price = {product["sku"]: product["price_cents"] for product in world.products}
    expected = Counter(
        (order["sku"], order["quantity"], order["quantity"] * price[order["sku"]]) for order in world.orders
    )
    stored = Counter((row["sku"], row["quantity"], row["total_cents"]) for row in resident.rows("orders"))
    check(stored == expected, Property.FACTORY, f"orders {sorted(stored)}, expected {sorted(expected)}")
    sent = [accepted(user.request("POST", "/v1/messages", json=message)) for message in world.messages]
    for episode_id in sent:
        user.wait(episode_id)
    said = Counter((row["content"], row["channel"]) for row in resident.rows("messages", role="user"))
    meant = Counter((message["text"], message["channel"]) for message in world.messages)
    check(said == meant, Property.FACTORY, f"{sum((meant - said).values())} messages are not stored as they were made")
    evidence("accepted", len(world.orders) + len(sent))
