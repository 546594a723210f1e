"""A cluster with Proctor installed: KUBECONFIG tells which. Every test has a namespace that enforces `restricted`."""

import os
import re
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from e2e.world import World, default_service_account, named
from proctor.edge.client import Client


@pytest_asyncio.fixture
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A namespace of its own, deleted afterwards."""
    client = await Client.connect()
    word = re.sub("[^a-z0-9]+", "-", request.node.name.lower())[:40].strip("-")
    namespace = f"e2e-{word}-{uuid.uuid4().hex[:4]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "proctor.dev/e2e": "true"}
    body = named("v1", "Namespace", namespace)
    body["metadata"]["labels"] = labels
    await client.create("namespaces", None, body)
    await default_service_account(client, namespace)
    try:
        yield World(client, namespace)
    finally:
        if not os.environ.get("PROCTOR_E2E_KEEP"):
            made = await client.get("namespaces", "", namespace)
            await client.delete("namespaces", "", namespace, made["metadata"]["uid"])
        await client.close()
