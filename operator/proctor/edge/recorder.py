"""Kubernetes Events, written behind the work: an Event is a courtesy, since the status holds the same facts.

Waiting for them would make every pass longer, and the pods that a pass asks for later.
"""

import asyncio
import logging
from typing import Any

from proctor.core.actions import Event
from proctor.edge import metrics
from proctor.edge.client import ApiError, Client, Json
from proctor.edge.observe import now
from proctor.edge.resources import Resource

MAX_WAITING = 10_000
log = logging.getLogger(__name__)


class Recorder:
    """Writes Events one after the other, in the order in which they were told."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: asyncio.Queue[Json] = asyncio.Queue(MAX_WAITING)

    def tell(self, resource: Resource, event: Event) -> None:
        """Have an Event about `resource` written; it is dropped and counted when too many wait."""
        try:
            self._waiting.put_nowait(_body(resource, event))
        except asyncio.QueueFull:
            metrics.EVENT_ERRORS.inc()

    async def write_next(self) -> None:
        """Wait for an Event and write it; a failure is counted and told in the log."""
        body = await self._waiting.get()
        namespace = body["metadata"]["namespace"]
        try:
            await self._client.create("events", namespace, body)
        except (ApiError, OSError, TimeoutError) as error:
            metrics.EVENT_ERRORS.inc()
            log.warning("event about %s/%s was not written: %s", namespace, body["involvedObject"]["name"], error)


def _body(resource: Any, event: Event) -> Json:
    meta, at = resource.metadata, now().isoformat().replace("+00:00", "Z")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{meta.name}.", "namespace": meta.namespace},
        "involvedObject": {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "name": meta.name,
            "namespace": meta.namespace,
            "uid": meta.uid,
        },
        "reason": event.reason,
        "message": event.message,
        "type": "Warning" if event.warning else "Normal",
        "source": {"component": "proctor"},
        "reportingComponent": "proctor",
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
