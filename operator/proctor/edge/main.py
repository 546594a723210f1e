"""The module for `kopf run -m proctor.edge.main`.

Kopf watches the four kinds and serves liveness; its handlers only note what they see. No timer, daemon, on.create or
on.delete: those keep state in annotations, add a finalizer, or miss what happened while the operator was down.
"""

import logging
from typing import Any

import kopf

from proctor.api import names
from proctor.edge.config import from_environment
from proctor.edge.engine import Engine
from proctor.edge.workqueue import Key

engine: Engine | None = None


@kopf.on.login()
def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """Use the pod's service account, or else the kubeconfig; both without importing a client library."""
    found: kopf.ConnectionInfo | None = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(
        **kwargs
    )
    return found


@kopf.on.startup()
async def startup(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Settle Kopf down to watching, and start the engine."""
    global engine
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    logging.getLogger("kopf.objects").setLevel(logging.ERROR)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    config = from_environment()
    logging.getLogger().setLevel(config.log_level)
    engine = Engine(config)
    await engine.start()


@kopf.on.cleanup()
async def cleanup(**_: Any) -> None:
    """Stop the engine and give the Lease back."""
    if engine is not None:
        await engine.stop()


@kopf.on.event(names.GROUP, names.VERSION, names.PLURALS[names.TEST_SUITE])
@kopf.on.event(names.GROUP, names.VERSION, names.PLURALS[names.TEST_RUN])
@kopf.on.event(names.GROUP, names.VERSION, names.PLURALS[names.CHAOS_EXPERIMENT])
@kopf.on.event(names.GROUP, names.VERSION, names.PLURALS[names.PERF_GATE])
async def note(event: Any, resource: kopf.Resource, **_: Any) -> None:
    """Note that a resource is there, as it is, or gone."""
    assert engine is not None, "Kopf delivers events only after startup"
    assert resource.kind is not None, "Kopf has discovered what it watches"
    raw = dict(event["object"])
    if event["type"] == "DELETED":
        engine.store.drop(Key(resource.kind, raw["metadata"].get("namespace", ""), raw["metadata"]["name"]))
    else:
        engine.store.put(resource.kind, raw)
