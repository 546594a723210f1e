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
    engine = Engine(from_environment())
    await engine.start()


@kopf.on.cleanup()
async def cleanup(**_: Any) -> None:
    """Stop the engine and give the Lease back."""
    if engine is not None:
        await engine.stop()


async def _note(kind: str, event: Any) -> None:
    assert engine is not None, "Kopf delivers events only after startup"
    raw = dict(event["object"])
    if event["type"] == "DELETED":
        engine.store.drop(Key(kind, raw["metadata"].get("namespace", ""), raw["metadata"]["name"]))
    else:
        engine.store.put(kind, raw)


@kopf.on.event(names.GROUP, names.VERSION, names.PLURALS[names.TEST_SUITE])
async def on_test_suite(event: Any, **_: Any) -> None:
    """Note a TestSuite."""
    await _note(names.TEST_SUITE, event)


@kopf.on.event(names.GROUP, names.VERSION, names.PLURALS[names.TEST_RUN])
async def on_test_run(event: Any, **_: Any) -> None:
    """Note a TestRun."""
    await _note(names.TEST_RUN, event)


@kopf.on.event(names.GROUP, names.VERSION, names.PLURALS[names.CHAOS_EXPERIMENT])
async def on_chaos_experiment(event: Any, **_: Any) -> None:
    """Note a ChaosExperiment."""
    await _note(names.CHAOS_EXPERIMENT, event)


@kopf.on.event(names.GROUP, names.VERSION, names.PLURALS[names.PERF_GATE])
async def on_perf_gate(event: Any, **_: Any) -> None:
    """Note a PerfGate."""
    await _note(names.PERF_GATE, event)
