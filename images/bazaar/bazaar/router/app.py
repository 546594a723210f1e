"""The router role: which agent a message is for, in about a millisecond and without a language model."""

from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel, Field

from bazaar.router.classifier import Classifier
from bazaar.server import serve
from bazaar.settings import Settings
from bazaar.web import create_app


class RouteIn(BaseModel, extra="forbid"):
    """A message."""

    text: Annotated[str, Field(max_length=10_240)]


class RouteOut(BaseModel):
    """The decision. Without `exit` the caller asks a language model."""

    agent: str
    exit: bool
    probabilities: dict[str, float]
    model_version: str


class ModelOut(BaseModel):
    """What decides: `card` holds what was measured on generated texts."""

    model_version: str
    labels: list[str]
    temperature: float
    threshold: float
    card: dict[str, float]


def create_router(settings: Settings) -> FastAPI:
    """The router's application."""
    classifier = Classifier.load()

    async def ready() -> None:
        """The weights are loaded before anything is served."""

    app = create_app("bazaar router", ready)

    @app.post("/route")
    async def route(message: RouteIn) -> RouteOut:
        decision = classifier.decide(message.text)
        return RouteOut(**vars(decision), model_version=classifier.version)

    @app.get("/model")
    async def model() -> ModelOut:
        return ModelOut(
            model_version=classifier.version,
            labels=classifier.labels,
            temperature=classifier.temperature,
            threshold=classifier.threshold,
            card=classifier.card,
        )

    return app


def run() -> None:
    """Serve this role until it is told to stop."""
    serve("router", Settings, create_router)
