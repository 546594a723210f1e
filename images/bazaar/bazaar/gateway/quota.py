"""Quotas of tenants and rates of keys, counted in Redis because several gateways share them.

One script counts and decides, so that no request slips in between. A quota's window is fixed and starts with a first
request; a rate is a token bucket that holds one second's requests. Without Redis nothing is admitted.
"""

from prometheus_client import Counter
from redis.asyncio import Redis

from bazaar.faults import fault
from bazaar.gateway.keys import Principal
from bazaar.problems import Problem

REJECTIONS = Counter("quota_rejections_total", "Requests refused because a tenant's quota is used up.")

# KEYS: quota, bucket. ARGV: limit, window in seconds, requests per second; 0 = none. Gives what refused, and the wait.
_TAKE = """
local rate = tonumber(ARGV[3])
local now = redis.call('TIME')
now = tonumber(now[1]) + tonumber(now[2]) / 1e6
local tokens = rate
if rate > 0 then
  local bucket = redis.call('HMGET', KEYS[2], 'tokens', 'at')
  if bucket[1] then tokens = math.min(rate, tonumber(bucket[1]) + rate * (now - tonumber(bucket[2]))) end
  if tokens < 1 then return {'rate', 1} end
end
if tonumber(ARGV[1]) > 0 then
  local used = redis.call('INCR', KEYS[1])
  if used == 1 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
  if used > tonumber(ARGV[1]) then return {'quota', math.max(redis.call('TTL', KEYS[1]), 1)} end
end
if rate > 0 then
  redis.call('HSET', KEYS[2], 'tokens', tostring(tokens - 1), 'at', tostring(now))
  redis.call('EXPIRE', KEYS[2], 2)
end
return {'', 0}
"""


class Quota:
    """Counts what tenants and keys use."""

    def __init__(self, redis: Redis) -> None:
        self._redis, self._take = redis, redis.register_script(_TAKE)

    async def take(self, principal: Principal) -> None:
        """Count one request. Raises Problem `quota-exceeded` or `rate-limited` with the seconds to wait."""
        if not (principal.quota or principal.per_second):
            return
        limit, window = principal.quota or (0, 0)
        keys = [f"quota:{principal.tenant_id}", f"rate:{principal.tenant_id}:{principal.key_hash.hex()}"]
        if limit and fault("quota_race") is not None:
            refused, wait = await self._read_then_write(keys[0], limit, window)
        else:
            refused, wait = await self._take(keys=keys, args=[limit, window, principal.per_second or 0])
        if refused == b"rate":
            raise Problem("rate-limited", f"the key may make {principal.per_second} requests per second", _after(wait))
        if refused == b"quota":
            REJECTIONS.inc()
            raise Problem("quota-exceeded", f"the tenant's {limit} requests per {window} s are used up", _after(wait))

    async def used(self, principal: Principal) -> int | None:
        """Requests of the tenant in its quota's current window, or None without a quota."""
        if not principal.quota:
            return None
        return min(int(await self._redis.get(f"quota:{principal.tenant_id}") or 0), principal.quota[0])

    async def _read_then_write(self, key: str, limit: int, window: int) -> tuple[bytes, int]:
        used = int(await self._redis.get(key) or 0)
        if used >= limit:
            return b"quota", max(await self._redis.ttl(key), 1)
        await self._redis.set(key, used + 1, ex=window)
        return b"", 0


def _after(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}
