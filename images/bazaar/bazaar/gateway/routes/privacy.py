"""What the platform takes for personal data, so that a client can ask before it sends."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends

from bazaar.gateway import api
from bazaar.gateway.access import caller
from bazaar.gateway.keys import Principal
from bazaar.safety import pii

ROUTER = APIRouter(prefix="/v1", tags=["privacy"])


@ROUTER.post("/pii:inspect")
def inspect_texts(
    body: api.TextsIn, principal: Annotated[Principal, Depends(caller("messages:write"))]
) -> api.InspectionsOut:
    """Find personal data in texts by the same code that redacts messages. It computes only, so it runs in a thread."""
    found = [api.InspectionOut.model_validate(asdict(pii.inspect(text))) for text in body.texts]
    return api.InspectionsOut(inspections=found)
