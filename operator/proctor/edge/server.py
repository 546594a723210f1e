"""Readiness and metrics over HTTP. Ready means: the Lease is held and the first lists are done."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from proctor.edge import metrics
from proctor.edge.store import Store
from proctor.edge.workqueue import WorkQueue


async def serve(port: int, store: Store, queue: WorkQueue, ready: Callable[[], bool]) -> web.AppRunner:
    """Serve GET /readyz and GET /metrics on all addresses; return the runner, to be cleaned up by the caller."""

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ready\n") if ready() else web.Response(status=503, text="not ready\n")

    async def scrape(_: web.Request) -> web.Response:
        metrics.LIVE_RUNS.set(store.live_runs)
        metrics.QUEUE_DEPTH.set(queue.depth)
        metrics.QUEUE_AGE.set(queue.age)
        return web.Response(body=generate_latest(metrics.REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/readyz", readyz), web.get("/metrics", scrape)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    return runner
