"""A cluster with Proctor installed: KUBECONFIG tells which. Every test has a namespace that enforces `restricted`."""

import os
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import pytest
import pytest_asyncio

from e2e.faultworld import FaultWorld
from e2e.world import World, default_service_account, named
from proctor.api import names
from proctor.edge.client import ApiError, Client


@pytest_asyncio.fixture
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A namespace of its own, deleted afterwards."""
    async with _namespace(request, {"pod-security.kubernetes.io/enforce": "restricted"}) as (client, namespace):
        yield World(client, namespace)


@pytest_asyncio.fixture
async def faults(request: pytest.FixtureRequest) -> AsyncIterator[FaultWorld]:
    """A namespace of its own in which the operator may make faults, deleted afterwards."""
    async with _namespace(request, {names.LABEL_CHAOS: names.CHAOS_ALLOWED}) as (client, namespace):
        (operator,), _ = await client.list("deployments", "proctor-system", "app.kubernetes.io/name=proctor")
        (container,) = operator["spec"]["template"]["spec"]["containers"]
        image = next(env["value"] for env in container["env"] if env["name"] == "PROCTOR_RUNNER_IMAGE")
        world = FaultWorld(client, namespace, image)
        await world.grant()
        yield world


@asynccontextmanager
async def _namespace(request: pytest.FixtureRequest, labels: Mapping[str, str]) -> AsyncIterator[tuple[Client, str]]:
    client = await Client.connect()
    word = re.sub("[^a-z0-9]+", "-", request.node.name.lower())[:40].strip("-")
    namespace = f"e2e-{word}-{uuid.uuid4().hex[:4]}"
    body = named("v1", "Namespace", namespace)
    body["metadata"]["labels"] = {"proctor.dev/e2e": "true", **labels}
    await client.create("namespaces", None, body)
    await default_service_account(client, namespace)
    try:
        yield client, namespace
    finally:
        if not os.environ.get("PROCTOR_E2E_KEEP"):
            with suppress(ApiError):  # A test may have deleted it itself.
                made = await client.get("namespaces", "", namespace)
                await client.delete("namespaces", "", namespace, made["metadata"]["uid"])
        await client.close()
