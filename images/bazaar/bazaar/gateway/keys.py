"""API keys. A key names its tenant, so that looking it up needs no view across tenants.

Only a hash is stored. The secret part has 256 random bits, so a plain SHA-256 is enough: there is nothing to guess.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from bazaar.db import Database
from bazaar.problems import Problem

Scope = Literal[
    "messages:write",
    "episodes:read",
    "orders:read",
    "orders:write",
    "leads:read",
    "leads:write",
    "documents:read",
    "documents:write",
    "usage:read",
]
_FORM = re.compile(r"bzr_([0-9a-f]{32})_[A-Za-z0-9_-]{43}")
_NOBODY = UUID(int=0)


@dataclass(frozen=True)
class Principal:
    """Who is calling."""

    tenant_id: UUID
    user_id: str
    scopes: frozenset[str]
    key_hash: bytes
    quota: tuple[int, int] | None
    """Requests and the window in seconds that they are counted in, or None for no limit."""
    per_second: int | None
    """Requests that this key may make in a second, or None for no limit."""


def new_key(tenant_id: UUID) -> str:
    """Make a key of a tenant."""
    return f"bzr_{tenant_id.hex}_{secrets.token_urlsafe(32)}"


def hash_key(key: str) -> bytes:
    """What is stored of a key."""
    return hashlib.sha256(key.encode()).digest()


async def authenticate(db: Database, key: str) -> Principal:
    """Find the owner of a key. Raises Problem `unauthenticated`.

    Every key costs one look-up, whether it is malformed, unknown, expired, revoked or good, so that the time of an
    answer does not tell which.
    """
    form = _FORM.fullmatch(key)
    tenant_id = UUID(form[1]) if form else _NOBODY
    key_hash = hash_key(key)
    async with db.tenant(tenant_id) as transaction:
        row = await transaction.row("find_principal", key_hash=key_hash)
    if row is None:
        raise Problem("unauthenticated", "send a valid API key as a bearer token", {"WWW-Authenticate": "Bearer"})
    quota = None if row.quota_limit is None else (row.quota_limit, row.quota_window_seconds)
    return Principal(tenant_id, row.user_id, frozenset(row.scopes), key_hash, quota, row.per_second)
