"""The wire between the tools and the roles that use them: one form of a call, and one way to send it."""

from typing import Annotated, Any
from uuid import UUID

import aiohttp
from pydantic import BaseModel, Field

from bazaar import tracing

Result = dict[str, Any]


class Call(BaseModel, extra="forbid"):
    """A tool call of an episode, or of a user's command (then it has no episode and no conversation)."""

    tenant_id: UUID
    user_id: Annotated[str, Field(max_length=64)]
    conversation: int | None = None
    episode_id: UUID | None = None
    key: Annotated[str, Field(min_length=1, max_length=300)]
    arguments: dict[str, Any]

    @property
    def series(self) -> str:
        """What the numbers of orders and leads begin with: the conversation alone decides, so they come again."""
        return str(1000 + (self.conversation or 0))


async def use(http: aiohttp.ClientSession, tool: str, call: Call) -> Result:
    """Have a tool do something: {"ok": true, ...}, or {"ok": false, "code": ...} for what the shop will not do.

    Raises aiohttp.ClientError or ValueError if there is no answer that can be understood.
    """
    headers = tracing.headers() | {"Content-Type": "application/json"}
    body = call.model_dump_json().encode()
    async with http.post(f"/tools/{tool}", data=body, headers=headers, raise_for_status=True) as response:
        result: Result = await response.json()
        return result
