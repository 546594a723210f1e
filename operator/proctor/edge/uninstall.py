"""Heals what is on before the operator goes: `python3 -m proctor.edge.uninstall NAMESPACE...`, a hook of the chart.

An experiment's finalizer waits for an operator. So this aborts the live ones while the operator still works, waits for
their heal, and in the end takes the finalizers off in any case: every fault ends by itself, and an object that cannot
be deleted is worse.
"""

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Sequence

from proctor.api import names
from proctor.edge.client import ApiError, Client, Json

PATIENCE = 90.0
"""Seconds for all heals."""
PAUSE = 1.0
PLURAL = names.PLURALS[names.CHAOS_EXPERIMENT]
log = logging.getLogger("proctor.uninstall")


async def heal(client: Client, namespaces: Sequence[str], patience: float = PATIENCE) -> int:
    """Abort all live experiments and wait for their heal; return how many finalizers had to be taken off instead."""
    end = time.monotonic() + patience
    while True:
        live = await _live(client, namespaces)
        for experiment in live:
            if not experiment["spec"].get("abort"):
                log.info("aborting %s/%s", experiment["metadata"]["namespace"], experiment["metadata"]["name"])
                await _merge(client, experiment, {"spec": {"abort": True}})
        if not live or time.monotonic() >= end:
            break
        await asyncio.sleep(PAUSE)
    left = [experiment for experiment in live if _held(experiment)]
    for experiment in left:
        kept = [name for name in experiment["metadata"]["finalizers"] if name != names.FINALIZER]
        log.warning(
            "%s/%s was not healed within %.0f s; its fault ends by itself",
            experiment["metadata"]["namespace"],
            experiment["metadata"]["name"],
            patience,
        )
        await _merge(client, experiment, {"metadata": {"finalizers": kept}})
    return len(left)


async def _live(client: Client, namespaces: Sequence[str]) -> list[Json]:
    """Return the experiments whose fault is on, or may still be made."""
    found: list[Json] = []
    for namespace in namespaces:
        experiments, _ = await client.list(PLURAL, namespace)
        found += [one for one in experiments if _held(one) or not (one.get("status") or {}).get("verdict")]
    return found


def _held(experiment: Json) -> bool:
    return names.FINALIZER in (experiment["metadata"].get("finalizers") or [])


async def _merge(client: Client, experiment: Json, body: Json) -> None:
    meta = experiment["metadata"]
    try:
        await client.merge(PLURAL, meta["namespace"], meta["name"], body)
    except ApiError as error:
        if error.status != 404:
            raise


async def _main(namespaces: Sequence[str]) -> None:
    client = await Client.connect()
    try:
        left = await heal(client, namespaces)
        log.info("%s", "all faults are healed" if not left else f"{left} finalizers were taken off")
    finally:
        await client.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="proctor.edge.uninstall", description=__doc__)
    parser.add_argument("namespaces", nargs="+", metavar="NAMESPACE", help="namespaces that may have faults")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    asyncio.run(_main(parser.parse_args().namespaces))
