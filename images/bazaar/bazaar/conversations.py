"""Conversations as gateway and orchestrator both write them."""

from uuid import UUID

from bazaar.db import Transaction


async def append(
    transaction: Transaction, conversation: int, episode_id: UUID, role: str, channel: str, content: str
) -> None:
    """Add a message at the end of a conversation."""
    counted = await transaction.row("next_message", conversation=conversation)
    assert counted is not None, "the caller has locked the conversation"
    await transaction.run(
        "insert_message",
        conversation=conversation,
        ordinal=counted.messages,
        role=role,
        channel=channel,
        content=content,
        episode_id=episode_id,
    )
