"""What the operator of the platform does."""

from uuid import UUID

from fastapi import APIRouter, Depends

from bazaar.gateway import api, tenants
from bazaar.gateway.access import Servers, bootstrap

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
