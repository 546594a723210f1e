"""Effects: what a tool does, it does once for each key, and its ledger rows are committed with it.

The key is the caller's. A call that comes again is given the result of the first one, whoever carried it out.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from pydantic import BaseModel

from bazaar.db import Database, Transaction
from bazaar.faults import fault
from bazaar.safety import audit, pii
from bazaar.toolcalls import Call, Result


class Arguments(BaseModel, extra="forbid"):
    """What a tool is called with."""


@dataclass(frozen=True)
class Done:
    """What a tool did: its result, and postings (account, debit, credit) in cents that sum to zero."""

    result: Result
    postings: list[tuple[str, int, int]] = field(default_factory=list)


class Refused(Exception):
    """A tool will not do what it was asked. Nothing has changed, so nothing is kept: asking again asks anew."""

    def __init__(self, code: str, **details: Any) -> None:
        super().__init__(code)
        self.result: Result = {"ok": False, "code": code, **details}


Act = Callable[[Transaction, Call, Any], Awaitable[Done]]


async def once(db: Database, call: Call, kind: str, arguments: Arguments, act: Act) -> Result:
    """Have the effect under the call's key, or give the result that the key already has. Raises Refused."""
    asked = arguments.model_dump(mode="json")
    async with db.tenant(call.tenant_id) as transaction:
        if fault("no_effect_key") is not None:
            call = call.model_copy(update={"key": f"{call.key}/{uuid4()}"})
        # Two deliveries of one task meet here; the second finds the first one's effect.
        if await transaction.row("lock_name", name=f"effect/{call.key}") is None:
            raise Refused("no-such-tenant")
        earlier = await transaction.row("find_effect", key=call.key)
        if earlier:
            if (earlier.kind, earlier.arguments) != (kind, asked):
                raise Refused("idempotency-conflict")
            result: Result = earlier.result
            return result
        done = await act(transaction, call, arguments)
        await transaction.run(
            "insert_effect",
            key=call.key,
            kind=kind,
            episode_id=call.episode_id,
            arguments=json.dumps(asked),
            result=json.dumps(done.result),
            postings=json.dumps(done.postings),
        )
        changed = {"result": json.dumps(done.result, sort_keys=True)}
        # A key is the client's and may hold anything; an audit entry outlives its tenant.
        subject = pii.inspect(call.key).redacted
        await audit.append(transaction, call.user_id, f"effect.{kind}", subject, changed)
    return done.result


async def next_number(transaction: Transaction, call: Call, statement: str) -> str:
    """The next number of the call's series; others who want one wait until this transaction ends."""
    await transaction.row("lock_name", name=f"{statement}/{call.series}")
    counted = await transaction.row(statement, series=f"{call.series}-%")
    assert counted is not None
    return f"{call.series}-{counted.number + 1}"
