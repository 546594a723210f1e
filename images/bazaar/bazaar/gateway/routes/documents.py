"""Documents that answers are taken from, and the search in them."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends

from bazaar import retrieval
from bazaar.faults import fault
from bazaar.gateway import api
from bazaar.gateway.access import Servers, caller
from bazaar.gateway.keys import Principal
from bazaar.problems import Problem
from bazaar.safety import audit

ROUTER = APIRouter(prefix="/v1", tags=["documents"])


@ROUTER.post("/documents:batch")
async def store_documents(
    batch: api.DocumentsIn, servers: Servers, principal: Annotated[Principal, Depends(caller("documents:write"))]
) -> api.DocumentsOut:
    """Add or replace documents that answers are taken from."""
    ids = [document.document_id for document in batch.documents]
    if len(set(ids)) != len(ids):
        raise Problem("repeated-name", "a document_id occurs twice")
    documents = [retrieval.Document(d.document_id, d.title, d.body, _names(d.readers)) for d in batch.documents]
    async with servers.db.tenant(principal.tenant_id) as transaction:
        await retrieval.store(transaction, documents)
        await audit.append(
            transaction, f"user/{principal.user_id}", "documents.store", "documents", {"ids": " ".join(ids)}
        )
    return api.DocumentsOut(stored=len(documents))


def _names(readers: api.ReadersIn | None) -> list[str] | None:
    if readers is None:
        return None
    return [f"user:{name}" for name in readers.users] + [f"group:{name}" for name in readers.groups]


@ROUTER.post("/search")
async def search_documents(
    wanted: api.SearchIn, servers: Servers, principal: Annotated[Principal, Depends(caller("documents:read"))]
) -> api.HitsOut:
    """The passages nearest to a text, of documents that the caller may read."""
    planted = fault("session_tenant") is not None
    context = servers.db.without_tenant() if planted else servers.db.tenant(principal.tenant_id)
    async with context as transaction:
        hits = await retrieval.search(transaction, principal.user_id, wanted.text, wanted.limit)
    return api.HitsOut(hits=[api.HitOut(**asdict(hit)) for hit in hits])
