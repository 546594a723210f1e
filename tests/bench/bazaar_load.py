"""The load of `make bench-bazaar`: runs in a pod beside the platform, with the runner's image.

An open model: messages leave at their times, whatever became of those before, and latency counts from the intended
time (closed loops hide slowness, Tene's "coordinated omission"). What became of a message is read from the database
afterwards, so that asking costs the platform nothing. Prints one JSON object.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
from dataclasses import dataclass, field

import httpx
import psycopg

GATEWAY = os.environ["GATEWAY"]
PATIENCE = 90.0
TRIES = 60
TEXTS = (
    "How can I return goods?",
    "Which ways of payment do you accept?",
    "I want to buy 1 Blue Mug, please",
    "Where is my order?",
)


@dataclass
class Sent:
    """One message: when it should have left (seconds since the epoch), and the episode that acknowledged it."""

    key: str
    text: str
    due: float
    episode_id: str | None = None
    tries: int = 0


@dataclass
class Tenant:
    """A tenant for this load."""

    tenant_id: str
    keys: list[str] = field(repr=False)


async def main() -> None:
    """Send, wait for the ends, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rate", type=float, required=True, help="messages each second; 0: as fast as they are answered"
    )
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--at-once", type=int, default=32, help="messages in flight at rate 0")
    options = parser.parse_args()
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    async with httpx.AsyncClient(base_url=GATEWAY, timeout=30, limits=limits) as http:
        tenant = await _tenant(http)
        print("started", file=sys.stderr, flush=True)
        if options.rate:
            sent = await _open(http, tenant, options.rate, options.seconds)
            print(json.dumps(_judge(tenant, sent, options.seconds)), flush=True)
        else:
            done = await _closed(http, tenant, options.at_once, options.seconds)
            print(json.dumps({"messages": done, "per_second": round(done / options.seconds, 1)}), flush=True)


async def _tenant(http: httpx.AsyncClient) -> Tenant:
    scopes = ["messages:write", "episodes:read", "orders:read", "documents:write"]
    body = {
        "seed": 7,
        "users": [{"name": f"user-{n}", "scopes": scopes} for n in range(20)],
        "products": [{"sku": "mug-blue", "name": "Blue Mug", "price_cents": 1290, "stock": 1_000_000}],
    }
    admin = {"Authorization": f"Bearer {os.environ['ADMIN_KEY']}"}
    made = (await http.post("/v1/admin/tenants", json=body, headers=admin)).raise_for_status().json()
    keys = [user["key"] for user in made["users"]]
    documents = [
        {"document_id": "returns", "title": "Returns", "body": "You can return goods within 30 days of delivery."},
        {"document_id": "payment", "title": "Payment", "body": "We accept cards, bank transfer and invoice."},
    ]
    stored = await http.post(
        "/v1/documents:batch", json={"documents": documents}, headers={"Authorization": f"Bearer {keys[0]}"}
    )
    stored.raise_for_status()
    return Tenant(made["tenant_id"], keys)


async def _open(http: httpx.AsyncClient, tenant: Tenant, rate: float, seconds: float) -> list[Sent]:
    chance = random.Random(7)
    began = time.time()
    sent: list[Sent] = []
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            message = Sent(f"load-{number}", chance.choice(TEXTS), began + number / rate)
            sent.append(message)
            await asyncio.sleep(max(0.0, message.due - time.time()))
            group.create_task(_send(http, tenant, message))
    return sent


async def _send(http: httpx.AsyncClient, tenant: Tenant, message: Sent) -> None:
    """Send until it is acknowledged, always with the same key: a client that saw no answer does not know."""
    user = int(message.key.rpartition("-")[2]) % len(tenant.keys)
    headers = {"Authorization": f"Bearer {tenant.keys[user]}", "Idempotency-Key": message.key}
    for _ in range(TRIES):
        message.tries += 1
        try:
            answer = await http.post("/v1/messages", json={"text": message.text}, headers=headers)
        except httpx.TransportError:
            await asyncio.sleep(0.5)
            continue
        if answer.status_code == 202:
            message.episode_id = answer.json()["episode_id"]
            return
        if answer.status_code < 500:
            raise RuntimeError(f"{answer.status_code}: {answer.text}")
        await asyncio.sleep(0.5)


async def _closed(http: httpx.AsyncClient, tenant: Tenant, at_once: int, seconds: float) -> int:
    until = time.monotonic() + seconds
    done = 0

    async def customer(number: int) -> None:
        nonlocal done
        turn = 0
        headers = {"Authorization": f"Bearer {tenant.keys[number % len(tenant.keys)]}"}
        while time.monotonic() < until:
            text = TEXTS[turn % len(TEXTS)]
            turn += 1
            answer = await http.post("/v1/messages", json={"text": text}, headers=headers)
            episode = answer.raise_for_status().json()["episode_id"]
            answer = await http.get(f"/v1/episodes/{episode}", headers={**headers, "Prefer": "wait=20"})
            if time.monotonic() < until and answer.raise_for_status().json()["state"] == "done":
                done += 1

    await asyncio.gather(*(customer(number) for number in range(at_once)))
    return done


def _judge(tenant: Tenant, sent: list[Sent], seconds: float) -> dict[str, object]:
    """Wait for the ends in the database; count what was lost and what was done twice."""
    ended = (
        "SELECT episode_id::text, state, extract(epoch FROM finished_at) FROM bazaar.episodes"
        " WHERE tenant_id = %s AND finished_at IS NOT NULL"
    )
    acknowledged = {message.episode_id: message for message in sent if message.episode_id}
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with psycopg.connect(os.environ["OPS_DSN"], connect_timeout=5) as database:
                rows = database.execute(ended, (tenant.tenant_id,)).fetchall()
                orders = database.execute(
                    "SELECT episode_id::text, count(*) FROM bazaar.orders WHERE tenant_id = %s GROUP BY 1",
                    (tenant.tenant_id,),
                ).fetchall()
        except psycopg.OperationalError:
            rows, orders = [], []
        states = {episode: (state, float(at)) for episode, state, at in rows}
        if all(episode in states for episode in acknowledged) or time.monotonic() > deadline:
            break
        time.sleep(1)
    done = {episode: at for episode, (state, at) in states.items() if state == "done" and episode in acknowledged}
    latencies = sorted(1000 * (at - acknowledged[episode].due) for episode, at in done.items())
    in_time = sum(at <= sent[-1].due + 5 for at in done.values())
    wanted = {episode for episode, message in acknowledged.items() if message.text.startswith("I want")}
    placed: dict[str, int] = dict(orders)
    return {
        "sent": len(sent),
        "acknowledged": len(acknowledged),
        "done": len(done),
        "done_per_second": round(in_time / seconds, 1),
        "failed": sum(state != "done" for state, _ in states.values()),
        "lost": sorted(episode for episode in acknowledged if episode not in states),
        "sent_again": sum(message.tries > 1 for message in sent),
        "orders_missing": len([episode for episode in wanted if episode in done and placed.get(episode) != 1]),
        "orders_doubled": len([episode for episode, count in placed.items() if count > 1 or episode not in wanted]),
        "p50_ms": round(statistics.median(latencies)) if latencies else None,
        "p95_ms": round(latencies[int(len(latencies) * 0.95)]) if latencies else None,
    }


asyncio.run(main())
