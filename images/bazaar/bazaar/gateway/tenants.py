"""Make and remove tenants: the door through which every test gets a platform of its own."""

import json
from uuid import UUID, uuid4

from bazaar.db import Database
from bazaar.gateway.api import TenantIn, TenantOut, UserOut
from bazaar.gateway.keys import hash_key, new_key
from bazaar.problems import Problem
from bazaar.safety import audit


async def create(db: Database, tenant: TenantIn) -> TenantOut:
    """Store a tenant with its users and products. Raises Problem `repeated-name`."""
    for what, names in (("user", [u.name for u in tenant.users]), ("sku", [p.sku for p in tenant.products])):
        if len(set(names)) != len(names):
            raise Problem("repeated-name", f"a {what} occurs twice")
    tenant_id = uuid4()
    quota = tenant.quota
    made = [UserOut(name=user.name, key=new_key(tenant_id)) for user in tenant.users]
    hashes = [{"key_hash": hash_key(user.key).hex()} for user in made]
    users = [user | key for user, key in zip(tenant.model_dump(mode="json")["users"], hashes, strict=True)]
    async with db.tenant(tenant_id) as transaction:
        await transaction.run(
            "insert_tenant",
            seed=tenant.seed,
            mode=tenant.mode,
            quota_limit=quota.limit if quota else None,
            quota_window_seconds=quota.window if quota else None,
        )
        await transaction.run("insert_users", users=json.dumps(users))
        await transaction.run("insert_products", products=json.dumps(tenant.model_dump()["products"]))
        await audit.append(transaction, "admin", "tenant.make", f"tenant/{tenant_id}", {"mode": tenant.mode})
        for user in tenant.users:
            scopes = " ".join(user.scopes)
            await audit.append(transaction, "admin", "key.make", f"user/{user.name}", {"scopes": scopes})
    return TenantOut(tenant_id=tenant_id, users=made)


async def delete(db: Database, tenant_id: UUID) -> None:
    """Remove a tenant and all that it has. Raises Problem `not-found`."""
    async with db.tenant(tenant_id) as transaction:
        if await transaction.row("lock_tenant") is None:
            raise Problem("not-found", "no such tenant")
        await audit.append(transaction, "admin", "tenant.remove", f"tenant/{tenant_id}")
        await transaction.run("delete_tenant")


async def revoke(db: Database, tenant_id: UUID, user: str) -> None:
    """End all keys of a user. Raises Problem `not-found` if there is none to end."""
    async with db.tenant(tenant_id) as transaction:
        if not await transaction.run("revoke_api_keys", user_id=user):
            raise Problem("not-found", "no such user, or no key that is valid")
        await audit.append(transaction, "admin", "keys.revoke", f"user/{user}")
