"""What clients of the gateway send and get. Every object is closed; every number and text has a bound."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bazaar.gateway.keys import Scope
from bazaar.safety import pii


def _storable(text: str) -> str:
    if "\x00" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError("NUL and lone surrogates are not allowed")
    return text


Text = Annotated[str, Field(min_length=1, max_length=4000), AfterValidator(_storable)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
OrderNumber = Annotated[str, Field(pattern=r"^[0-9]{4,10}-[0-9]{1,6}$")]
Ordinal = Annotated[int, Field(ge=1, le=2**31 - 1)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class QuotaIn(_Model):
    """Requests of a tenant in a window of time."""

    limit: int = Field(ge=1, le=1_000_000)
    window: int = Field(ge=1, le=86_400, description="seconds")


class UserIn(_Model):
    """A user, and what the key may do."""

    name: Name
    scopes: list[Scope] = Field(default=["messages:write", "episodes:read", "orders:read"], max_length=8)


class ProductIn(_Model):
    """A product, and how many of it there are."""

    sku: Name
    name: Text
    price_cents: int = Field(ge=0, le=10**9)
    stock: int = Field(ge=0, le=10**6)


class TenantIn(_Model):
    """A tenant to make."""

    seed: int = Field(ge=0, le=2**63 - 1)
    mode: Literal["MOCK", "GOLDEN", "LIVE_SMOKE"] = "MOCK"
    quota: QuotaIn | None = None
    users: list[UserIn] = Field(min_length=1, max_length=50)
    products: list[ProductIn] = Field(default=[], max_length=50)


class UserOut(_Model):
    """A user and the key, which is shown only once."""

    name: Name
    key: str


class TenantOut(_Model):
    """A tenant that was made."""

    tenant_id: UUID
    users: list[UserOut]


class DocumentIn(_Model):
    """A text that answers may be taken from."""

    document_id: Name
    title: Text
    body: Text


class DocumentsIn(_Model):
    """Texts to store."""

    documents: list[DocumentIn] = Field(min_length=1, max_length=500)


class DocumentsOut(_Model):
    """How many texts were stored."""

    stored: int


class TextsIn(_Model):
    """Texts to look at; nothing of them is kept."""

    texts: list[Annotated[str, Field(max_length=4000)]] = Field(min_length=1, max_length=1000)


class SpanOut(_Model):
    """A piece of personal data in a text: its place in characters, and how sure that is (0..1)."""

    type: pii.Type
    start: int
    end: int
    score: float


class InspectionOut(_Model):
    """What a text holds, the risk (0..1) that it does harm, and the text as it would be kept."""

    spans: list[SpanOut]
    risk: float
    redacted: str


class InspectionsOut(_Model):
    """One inspection for each text, in their order."""

    inspections: list[InspectionOut]


class MessageIn(_Model):
    """What a customer says."""

    text: Text
    conversation: Ordinal | None = Field(default=None, description="absent: a new conversation")
    channel: Literal["web", "mail", "phone"] = "web"


class MessageOut(_Model):
    """Where to ask what became of the message."""

    episode_id: UUID
    conversation: Ordinal


class EpisodeOut(_Model):
    """What became of a message. `reply` is set when `state` is done, `error` when it is failed."""

    episode_id: UUID
    conversation: Ordinal
    state: Literal["queued", "running", "done", "failed"]
    intent: str | None
    reply: str | None
    error: str | None


class OrderOut(_Model):
    """An order and its shipment."""

    order_number: OrderNumber
    sku: Name
    quantity: int
    total_cents: int
    status: Literal["placed"]
    tracking_code: str
    shipment_status: Literal["preparing"]


class OrdersOut(_Model):
    """Orders of one user."""

    orders: list[OrderOut]
