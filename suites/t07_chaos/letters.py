"""Dead letters as the stream DLQ has them, which is another plane than the door of their handler."""

import json
from collections import Counter

from _fixtures.shops import Tenant
from _helpers.jetstream import Stored, read_stream
from _helpers.properties import Property, check
from _helpers.state import Database
from t07_chaos.load import Load

POISON = "[[error 500]] "
"""The model fails each time, so that no delivery of the task can succeed."""
DELIVERIES = 4
GIVEN_UP_SECONDS = 30.0
"""Four deliveries with waits of 2, 2 and 4 seconds, and the way to the dead letters."""


def letters(tenant_id: str) -> dict[str, list[Stored]]:
    """The tenant's dead letters by the episode of their task."""
    found: dict[str, list[Stored]] = {}
    for message in read_stream("DLQ", "dlq.>"):
        if tenant_id.encode() in message.data:
            found.setdefault(json.loads(message.data)["episode_id"], []).append(message)
    return found


def judge_letters(database: Database, shop: Tenant, load: Load) -> None:
    """Every task of the load is poison: each has one dead letter that says so, and its episode has failed."""
    found = letters(shop.tenant_id)
    kept = [key for key, seen in load.seen.items() if seen.episode_id in found]
    told = f"{len(kept)} of {len(load.tasks)} tasks that nobody can finish are in the DLQ, expected all"
    check(len(kept) == len(load.tasks), Property.DEAD_LETTER_KEPT, told)
    several = sum(len(same) - 1 for same in found.values())
    check(several == 0, Property.DEAD_LETTER_KEPT, f"{several} dead letters beyond the first of their task")
    for same in found.values():
        headers = same[0].headers
        seen = headers.get("Dead-Reason"), headers.get("Dead-Deliveries")
        check(seen == ("max_deliver", str(DELIVERIES)), Property.DEAD_LETTER_KEPT, f"a dead letter says {seen}")
    states = Counter(row["state"] for row in database.rows("episodes", shop.tenant_id))
    check(
        states == {"failed": len(load.tasks)},
        Property.ACCEPTED_THEN_LOST,
        f"episodes of dead letters are {dict(states)}",
    )
    orders = Counter(row["episode_id"] for row in database.rows("orders", shop.tenant_id))
    doubled = sum(count - 1 for count in orders.values())
    check(
        doubled == 0,
        Property.EFFECT_ONCE,
        f"{doubled} orders beyond the first of a task, after {DELIVERIES} deliveries",
    )
