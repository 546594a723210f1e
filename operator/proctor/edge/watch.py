"""List and watch the children of all runs, selected by label on the server, for ever.

A list at least every RELIST seconds finds what vanished while a watch was broken.
"""

import asyncio
import logging
from collections.abc import Sequence

from proctor.api import names
from proctor.edge.client import ApiError, Client
from proctor.edge.store import Store

RELIST = 300
PAUSE = 1.0
log = logging.getLogger(__name__)


async def first_lists(client: Client, store: Store, namespaces: Sequence[str]) -> None:
    """Fill the store with suites, runs, faults and their children, so that no decision is made half blind."""
    for namespace in namespaces or (None,):
        for kind in (names.TEST_SUITE, names.TEST_RUN, names.CHAOS_EXPERIMENT):
            items, _ = await client.list(names.PLURALS[kind], namespace)
            for raw in items:
                store.put(kind, raw)


async def children(client: Client, store: Store, plural: str, namespace: str | None, listed: asyncio.Event) -> None:
    """Keep the store's Jobs or pods of a namespace (None: all) up to date; sets `listed` after the first list."""
    while True:
        try:
            items, since = await client.list(plural, namespace, names.LABEL_RUN_UID)
            store.replace_children(plural, items, namespace, since)
            listed.set()
            await _follow(client, store, plural, namespace, since)
        except (ApiError, OSError) as error:
            log.warning("watching %s was interrupted (%s), listing again", plural, error)
            await asyncio.sleep(PAUSE)


async def _follow(client: Client, store: Store, plural: str, namespace: str | None, since: str) -> None:
    async for event in client.watch(plural, namespace, names.LABEL_RUN_UID, since, RELIST):
        match event["type"]:
            case "ADDED" | "MODIFIED":
                store.put_child(plural, event["object"])
            case "DELETED":
                store.drop_child(plural, event["object"])
            case "BOOKMARK":
                pass
            case _:
                raise ApiError(event["object"].get("code", 0), "WatchError", event["object"].get("message", ""))
