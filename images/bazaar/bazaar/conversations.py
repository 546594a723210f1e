"""Conversations as several roles write them."""

from uuid import UUID

from prometheus_client import Counter

from bazaar.db import Transaction

EPISODES = Counter("episodes_total", "Episodes that ended.", ["state"])


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
