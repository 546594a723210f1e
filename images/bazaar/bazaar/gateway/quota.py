"""Quotas per tenant, counted in Redis because several gateways share them.

One script counts and decides, so that no request slips in between. Windows are fixed and start with a first request.
"""

from uuid import UUID

from redis.asyncio import Redis

from bazaar.web import Problem

_TAKE = """
local used = redis.call('INCR', KEYS[1])
if used == 1 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
if used <= tonumber(ARGV[1]) then return 0 end
return math.max(redis.call('TTL', KEYS[1]), 1)
"""


class Quota:
    """Counts what tenants use."""

    def __init__(self, redis: Redis) -> None:
        self._take = redis.register_script(_TAKE)

    async def take(self, tenant_id: UUID, limit: int, window_seconds: int) -> None:
        """Count one request. Raises Problem `quota-exceeded` with the seconds until the window ends."""
        wait = int(await self._take(keys=[f"quota:{tenant_id}"], args=[limit, window_seconds]))
        if wait:
            raise Problem(
                "quota-exceeded",
                f"the tenant's {limit} requests per {window_seconds} s are used up",
                {"Retry-After": str(wait)},
            )
