"""Take a message in: exactly one episode for each message and each idempotency key.

The key, the conversation, the message, the episode and the outgoing task are one transaction. Two requests with one key
meet at the key's row: the second waits for the first and is given its episode.
"""

import hashlib
from uuid import uuid4

from bazaar import outbox
from bazaar.db import Database, Transaction
from bazaar.faults import fault
from bazaar.gateway.api import MessageIn, MessageOut
from bazaar.gateway.keys import Principal
from bazaar.problems import Problem
from bazaar.safety.pii import redact
from bazaar.streams import task_subject


async def accept(
    db: Database, arm: str, principal: Principal, message: MessageIn, key: str | None
) -> tuple[MessageOut, bool]:
    """Store a message and its task for an arm's orchestrators; gives the episode and whether it is new.

    Raises Problem `idempotency-conflict`, `not-found` (conversation), `conversation-busy` or
    `unauthenticated` (the tenant was removed meanwhile).
    """
    if fault("idempotency_ignored") is not None:
        key = None
    request_hash = hashlib.sha256(message.model_dump_json().encode()).digest()
    episode_id = uuid4()
    async with db.tenant(principal.tenant_id) as transaction:
        if key is not None:
            claimed = await transaction.row(
                "claim_idempotency_key",
                user_id=principal.user_id,
                key=key,
                request_hash=request_hash,
                episode_id=episode_id,
            )
            if claimed is None:
                return await _earlier(transaction, principal, key, request_hash), False
        conversation = await _conversation(transaction, principal, message.conversation)
        await transaction.run(
            "open_episode",
            episode_id=episode_id,
            conversation=conversation,
            user_id=principal.user_id,
            channel=message.channel,
            content=redact(message.text),
        )
        await outbox.enqueue(
            transaction,
            task_subject(arm),
            f"task-{episode_id}",
            {"tenant_id": str(principal.tenant_id), "episode_id": str(episode_id)},
        )
    return MessageOut(episode_id=episode_id, conversation=conversation), True


async def _earlier(transaction: Transaction, principal: Principal, key: str, request_hash: bytes) -> MessageOut:
    earlier = await transaction.row("find_idempotency_key", user_id=principal.user_id, key=key)
    if earlier is None:
        raise _removed()
    if earlier.request_hash != request_hash:
        raise Problem("idempotency-conflict", "this Idempotency-Key was used with another body")
    return MessageOut(episode_id=earlier.episode_id, conversation=earlier.conversation)


async def _conversation(transaction: Transaction, principal: Principal, wanted: int | None) -> int:
    if wanted is None:
        opened = await transaction.row("open_conversation", user_id=principal.user_id)
        if opened is None:
            raise _removed()
        number: int = opened.conversation
        return number
    if not await transaction.rows("lock_conversation", conversation=wanted, user_id=principal.user_id):
        raise Problem("not-found", "you have no such conversation")
    if await transaction.rows("find_open_episode", conversation=wanted):
        raise Problem("conversation-busy", "the conversation's last message is not answered yet", {"Retry-After": "1"})
    return wanted


def _removed() -> Problem:
    return Problem("unauthenticated", "the tenant was removed", {"WWW-Authenticate": "Bearer"})
