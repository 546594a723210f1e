"""The tools role: what agents may do to the shop, over HTTP, for the orchestrator only."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from bazaar.db import Database
from bazaar.settings import DatabaseSettings
from bazaar.tools import orders
from bazaar.web import create_app, internal_only, serve

Arguments = TypeVar("Arguments", bound=BaseModel)


class ToolsSettings(DatabaseSettings):
    """What the tools need."""

    internal_key: SecretStr = Field(min_length=16)


class Call(BaseModel, Generic[Arguments]):
    """A tool call of an episode. `key` names its effect: one key, at most one effect."""

    model_config = ConfigDict(extra="forbid")
    tenant_id: UUID
    episode_id: UUID
    key: Annotated[str, Field(min_length=1, max_length=200)]
    arguments: Arguments


def create_tools(settings: ToolsSettings) -> FastAPI:
    """The tools' application."""
    db = Database(settings.app_dsn, settings.pool_size)
    internal = Depends(internal_only(settings.internal_key))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await db.close()

    app = create_app("bazaar tools", db.ping, lifespan)

    @app.post("/tools/place_order", dependencies=[internal])
    async def place_order(call: Call[orders.PlaceOrder]) -> dict[str, Any]:
        async with db.tenant(call.tenant_id) as transaction:
            return await orders.place(transaction, call.episode_id, call.key, call.arguments)

    @app.post("/tools/track_order", dependencies=[internal])
    async def track_order(call: Call[orders.TrackOrder]) -> dict[str, Any]:
        async with db.tenant(call.tenant_id) as transaction:
            return await orders.track(transaction, call.episode_id, call.arguments)

    return app


def run() -> None:
    """Serve this role until it is told to stop."""
    settings = ToolsSettings.load()
    serve("tools", create_tools(settings), settings)
