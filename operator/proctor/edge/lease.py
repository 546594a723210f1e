"""One operator at a time: a coordination Lease. Losing it ends the process, so two can never write.

The holder renews every RENEW seconds; another may take over when DURATION has passed without a renewal. A restarted
container of the same pod has the same identity and goes on at once.
"""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from proctor.edge import metrics
from proctor.edge.client import ApiError, Client

NAME = "proctor-operator"
DURATION = 15
RENEW = 3
TRY = 4
"""Seconds for one try, so that a request that hangs leaves time for another before the Lease is given up."""
RETRY = 2
log = logging.getLogger(__name__)


class Lease:
    """The right to write."""

    def __init__(self, client: Client, namespace: str, identity: str) -> None:
        self._client = client
        self._namespace = namespace
        self._identity = identity
        self._renewed_at = 0.0

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""
        waiting_for = ""
        while not await self._try():
            holder = await self._holder()
            if holder != waiting_for:
                log.info("waiting for the Lease %s/%s, held by %s", self._namespace, NAME, holder)
                waiting_for = holder
            await asyncio.sleep(RETRY)
        metrics.LEADER.set(1)

    async def hold(self) -> None:
        """Renew the Lease until it is lost, then return."""
        loop = asyncio.get_running_loop()
        pause: float = RENEW
        while True:
            await asyncio.sleep(pause)
            # Another may take over DURATION after the last renewal; by then nothing of ours may still be writing.
            give_up = self._renewed_at + DURATION - RENEW
            try:
                async with asyncio.timeout_at(min(give_up, loop.time() + TRY)):
                    ours = await self._try()
                pause = RENEW
            except (ApiError, OSError) as error:
                log.warning("the Lease could not be renewed: %s", error)
                ours = loop.time() < give_up
                pause = min(RETRY, max(0.0, give_up - loop.time()))
            if not ours:
                metrics.LEADER.set(0)
                return

    async def release(self) -> None:
        """Give the Lease back, so that a successor need not wait."""
        lease = await self._client.get("leases", self._namespace, NAME)
        if lease["spec"].get("holderIdentity") == self._identity:
            lease["spec"]["holderIdentity"] = ""
            await self._client.replace("leases", self._namespace, lease)

    async def _try(self) -> bool:
        now = datetime.now(UTC)
        began = asyncio.get_running_loop().time()
        try:
            lease = await self._client.get("leases", self._namespace, NAME)
        except ApiError as error:
            if error.status != 404:
                raise
            lease = None
        try:
            if lease is None:
                await self._client.create("leases", self._namespace, self._body(now))
            elif self._is_free(lease["spec"], now):
                lease["spec"] |= self._spec(now)
                await self._client.replace("leases", self._namespace, lease)
            else:
                return False
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        self._renewed_at = began
        return True

    async def _holder(self) -> str:
        try:
            lease = await self._client.get("leases", self._namespace, NAME)
        except ApiError:
            return "unknown"
        return str(lease["spec"].get("holderIdentity") or "nobody")

    def _is_free(self, spec: dict[str, Any], now: datetime) -> bool:
        holder = spec.get("holderIdentity")
        if not holder or holder == self._identity or not spec.get("renewTime"):
            return True
        renewed = datetime.fromisoformat(spec["renewTime"])
        return now > renewed + timedelta(seconds=spec.get("leaseDurationSeconds", DURATION))

    def _body(self, now: datetime) -> dict[str, Any]:
        metadata = {"name": NAME, "namespace": self._namespace}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": self._spec(now)}

    def _spec(self, now: datetime) -> dict[str, Any]:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION,
            "renewTime": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }
