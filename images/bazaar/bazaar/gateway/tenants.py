"""Make and remove tenants: the door through which every test gets a platform of its own."""

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
    users: list[UserOut] = []
    quota = tenant.quota
    async with db.tenant(tenant_id) as transaction:
        await transaction.run(
            "insert_tenant",
            seed=tenant.seed,
            mode=tenant.mode,
            quota_limit=quota.limit if quota else None,
            quota_window_seconds=quota.window if quota else None,
        )
        for user in tenant.users:
            key = new_key(tenant_id)
            await transaction.run("insert_user", user_id=user.name)
            for group in set(user.groups):
                await transaction.run("insert_group", group_id=group)
                await transaction.run("insert_membership", user_id=user.name, group_id=group)
            await transaction.run(
                "insert_api_key",
                key_hash=hash_key(key),
                user_id=user.name,
                scopes=user.scopes,
                per_second=user.per_second,
                expires_at=user.expires_at,
            )
            users.append(UserOut(name=user.name, key=key))
        for product in tenant.products:
            values = product.model_dump()
            stock = values.pop("stock")
            await transaction.run("insert_product", **values)
            await transaction.run("insert_stock", sku=product.sku, available=stock)
        await audit.append(transaction, "admin", "tenant.make", f"tenant/{tenant_id}", {"mode": tenant.mode})
        for user in tenant.users:
            scopes = " ".join(user.scopes)
            await audit.append(transaction, "admin", "key.make", f"user/{user.name}", {"scopes": scopes})
    return TenantOut(tenant_id=tenant_id, users=users)


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
