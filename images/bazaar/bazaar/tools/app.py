"""The tools role: what agents and customers may do to the shop, over HTTP, for the other roles only."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from pydantic import Field, SecretStr, ValidationError

from bazaar.db import Database
from bazaar.problems import Problem
from bazaar.server import serve
from bazaar.settings import DatabaseSettings
from bazaar.toolcalls import Call, Result
from bazaar.tools import orders, service
from bazaar.tools.effects import Act, Arguments, Refused, once
from bazaar.web import create_app, internal_only

TOOLS: dict[str, tuple[str | None, type[Arguments], Act]] = {
    "place_order": ("order", orders.PlaceOrder, orders.place),
    "pay_order": ("payment", orders.PayOrder, orders.pay),
    "ship_order": ("shipment", orders.ShipOrder, orders.ship),
    "cancel_order": ("cancellation", orders.OneOrder, orders.cancel),
    "refund_order": ("refund", orders.OneOrder, orders.refund),
    "track_order": (None, orders.OneOrder, orders.track),
    "capture_lead": ("lead", service.CaptureLead, service.capture),
    "qualify_lead": ("qualification", service.QualifyLead, service.qualify),
    "convert_lead": ("conversion", service.OneLead, service.convert),
    "notify": ("notification", orders.OneOrder, service.notify),
    "hand_off": ("handoff", service.HandOff, service.hand_off),
}
"""Each tool's kind of effect (None: it only reads), its arguments, and what it does."""


class ToolsSettings(DatabaseSettings):
    """What the tools need."""

    internal_key: SecretStr = Field(min_length=16)


def create_tools(settings: ToolsSettings) -> FastAPI:
    """The tools' application."""
    db = Database(settings.app_dsn, settings.pool_size)
    internal = Depends(internal_only(settings.internal_key))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await db.close()

    app = create_app("bazaar tools", db.ping, lifespan)

    @app.post("/tools/{tool}", dependencies=[internal])
    async def use(tool: str, call: Call) -> Result:
        """Use a tool: {"ok": true, ...}, or {"ok": false, "code": ...} for what the shop will not do."""
        if tool not in TOOLS:
            raise Problem("not-found", "no such tool")
        kind, form, act = TOOLS[tool]
        try:
            arguments = form.model_validate(call.arguments)
            if kind is not None:
                return await once(db, call, kind, arguments, act)
            async with db.tenant(call.tenant_id) as transaction:
                return (await act(transaction, call, arguments)).result
        except ValidationError:  # the arguments are the model's or the customer's words, not a defect of the caller
            return {"ok": False, "code": "bad-arguments"}
        except Refused as refused:
            return refused.result

    return app


def run() -> None:
    """Serve this role until it is told to stop."""
    serve("tools", ToolsSettings, create_tools)
