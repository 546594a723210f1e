"""What the operator of the platform does."""

from uuid import UUID

import aiohttp
from fastapi import APIRouter, Depends

from bazaar import tracing
from bazaar.gateway import api, tenants
from bazaar.gateway.access import Servers, bootstrap
from bazaar.problems import Problem
from bazaar.records import Record, ReplayIn, ReplayOut

ROUTER = APIRouter(prefix="/v1/admin", tags=["admin"], dependencies=[Depends(bootstrap)])


@ROUTER.post("/tenants", status_code=201)
async def create_tenant(tenant: api.TenantIn, servers: Servers) -> api.TenantOut:
    """Make a tenant with users, keys, products and stock. The keys are shown here and never again."""
    return await tenants.create(servers.db, tenant)


@ROUTER.delete("/tenants/{tenant_id}", status_code=204)
async def delete_tenant(tenant_id: UUID, servers: Servers) -> None:
    """Remove a tenant and everything that it has."""
    await tenants.delete(servers.db, tenant_id)


@ROUTER.delete("/tenants/{tenant_id}/users/{user}/keys", status_code=204)
async def revoke_keys(tenant_id: UUID, user: api.Name, servers: Servers) -> None:
    """End all keys of a user, from the next request on."""
    await tenants.revoke(servers.db, tenant_id, user)


@ROUTER.get("/episodes/{episode_id}/record")
async def get_record(episode_id: UUID, tenant_id: UUID, servers: Servers) -> Record:
    """The record of an episode that is done: what each step asked, was told and put out."""
    path, whose = f"/episodes/{episode_id}/record", {"tenant_id": str(tenant_id)}
    async with servers.orchestrator.get(path, params=whose, headers=tracing.headers()) as answer:
        return Record.model_validate_json(await _content(answer))


@ROUTER.post("/replay")
async def replay(wish: ReplayIn, servers: Servers) -> ReplayOut:
    """Run the steps of a record again, without effects, and compare what comes out."""
    headers = tracing.headers() | {"Content-Type": "application/json"}
    body = wish.model_dump_json().encode()
    async with servers.orchestrator.post("/replay", data=body, headers=headers) as answer:
        return ReplayOut.model_validate_json(await _content(answer))


async def _content(answer: aiohttp.ClientResponse) -> bytes:
    """What the orchestrator says. Raises the Problem that it has."""
    if not answer.ok:
        problem = await answer.json()
        raise Problem(problem["code"], problem["detail"])
    return await answer.read()
