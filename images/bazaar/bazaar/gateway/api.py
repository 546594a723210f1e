"""What clients of the gateway send and get. Every object is closed; every number and text has a bound."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, Field, model_validator

from bazaar.faults import fault
from bazaar.gateway.keys import Scope
from bazaar.records import MAX_EXACT, Integer, is_number
from bazaar.safety import pii

MAX_INTEGER = 2**31 - 1


def _is_text(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    return value


def _storable(number: int) -> int:
    if number > MAX_INTEGER and fault("bigint_500") is None:
        raise ValueError(f"must be at most {MAX_INTEGER}")
    return number


def _in_utc(moment: datetime) -> datetime:
    """The same moment, or the nearest that there is, with no displacement: PostgreSQL takes less than 16 hours."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC) if moment.year == 1 else datetime.max.replace(tzinfo=UTC)


# NUL cannot be stored; a lone surrogate is no text and fails the match.
Text = Annotated[str, Field(min_length=1, max_length=4000, pattern=r"^[^\x00]*$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
OrderNumber = Annotated[str, Field(pattern=r"^[0-9]{4,10}-[0-9]{1,6}$")]
TrackingCode = Annotated[str, Field(pattern=r"^TR[0-9]{4,10}-[0-9]{1,6}$")]
ShipmentStatus = Literal["preparing", "shipped", "cancelled"]
Ordinal = Annotated[int, Field(ge=1, json_schema_extra={"maximum": MAX_INTEGER}), AfterValidator(_storable)]
Moment = Annotated[AwareDatetime, BeforeValidator(_is_text), AfterValidator(_in_utc)]


class Channel(StrEnum):
    """How a customer speaks."""

    WEB = "web"
    MAIL = "mail" if fault("enum_renamed") is None else "email"
    PHONE = "phone"


class Model(BaseModel, extra="forbid"):
    """A closed object."""


class QuotaIn(Model):
    """Requests of a tenant in a window of time."""

    limit: Integer = Field(ge=1, le=1_000_000)
    window: Integer = Field(ge=1, le=86_400, description="seconds")


class UserIn(Model):
    """A user, and what the key may do."""

    name: Name
    scopes: list[Scope] = Field(default=["messages:write", "episodes:read", "orders:read"], max_length=16)
    groups: list[Name] = Field(default=[], max_length=16)
    per_second: Annotated[int, Field(ge=1, le=10_000), BeforeValidator(is_number)] | None = Field(
        default=None, description="requests that the key may make"
    )
    expires_at: Moment | None = Field(default=None, description="when the key ends")


class ProductIn(Model):
    """A product, and how many of it there are."""

    sku: Name
    name: Text
    price_cents: Integer = Field(ge=0, le=10**9)
    stock: Integer = Field(ge=0, le=10**6)
    ships_to: list[Country] = Field(default=[], max_length=250, description="none: everywhere")


class TenantIn(Model):
    """A tenant to make."""

    seed: Integer = Field(ge=0, le=MAX_EXACT)
    mode: Literal["MOCK", "GOLDEN", "LIVE_SMOKE"] = "MOCK"
    quota: QuotaIn | None = None
    users: list[UserIn] = Field(min_length=1, max_length=50)
    products: list[ProductIn] = Field(default=[], max_length=50)


class UserOut(Model):
    """A user and the key, which is shown only once."""

    name: Name
    key: str


class TenantOut(Model):
    """A tenant that was made."""

    tenant_id: UUID
    users: list[UserOut]


class ReadersIn(Model):
    """Who may read: these users, and the members of these groups."""

    users: list[Name] = Field(default=[], max_length=50)
    groups: list[Name] = Field(default=[], max_length=50)


class DocumentIn(Model):
    """A text that answers may be taken from."""

    document_id: Name
    title: Text
    body: Text
    readers: ReadersIn | None = Field(default=None, description="absent: everybody of the tenant")


class DocumentsIn(Model):
    """Texts to store."""

    documents: list[DocumentIn] = Field(min_length=1, max_length=500)


class DocumentsOut(Model):
    """How many texts were stored."""

    stored: int


class SearchIn(Model):
    """What to look for."""

    text: Text
    limit: Integer = Field(default=10, ge=1, le=50)


class HitOut(Model):
    """A passage of a document: its place among the document's passages, and how near it is (-1..1)."""

    document_id: Name
    chunk: int
    title: str
    text: str
    score: float


class HitsOut(Model):
    """Passages, nearest first."""

    hits: list[HitOut]


class TextsIn(Model):
    """Texts to look at; nothing of them is kept."""

    texts: list[Text] = Field(min_length=1, max_length=1000)


class SpanOut(Model):
    """A piece of personal data in a text: its place in characters, and how sure that is (0..1)."""

    type: pii.Type
    start: int
    end: int
    score: float


class InspectionOut(Model):
    """What a text holds, the risk (0..1) that it does harm, and the text as it would be kept."""

    spans: list[SpanOut]
    risk: float
    redacted: str


class InspectionsOut(Model):
    """One inspection for each text, in their order."""

    inspections: list[InspectionOut]


class MessageIn(Model):
    """What a customer says."""

    text: Text
    conversation: Annotated[Ordinal, BeforeValidator(is_number)] | None = Field(
        default=None, description="absent: a new conversation"
    )
    channel: Channel = Channel.WEB

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        unknown = data.keys() - cls.model_fields.keys() if isinstance(data, dict) else ()
        if unknown and fault("extra_ignored") is not None:
            return {name: value for name, value in data.items() if name in cls.model_fields}
        return data


class MessageOut(Model):
    """Where to ask what became of the message."""

    episode_id: UUID
    conversation: Ordinal


class ConversationOut(Model):
    """A conversation, and how many messages it has."""

    conversation: Ordinal
    messages: int
    created_at: datetime


class ConversationsOut(Model):
    """A page of conversations; `next` is the `after` of the page that follows, null on the last."""

    conversations: list[ConversationOut]
    next: int | None


class SaidOut(Model):
    """A message of a conversation."""

    ordinal: Ordinal
    role: Literal["user", "assistant"]
    channel: Channel
    text: str
    episode_id: UUID
    created_at: datetime


class SaidsOut(Model):
    """A page of messages; `next` is the `after` of the page that follows, null on the last."""

    messages: list[SaidOut]
    next: int | None


class Page(Model):
    """Which part of a list is wanted."""

    after: int = Field(default=0, ge=0, le=MAX_INTEGER, description="the `next` of the page before")
    limit: int = Field(default=50, ge=1, le=100)


class EpisodeOut(Model):
    """What became of a message. `reply` is set when `state` is done, `error` when it is failed."""

    episode_id: UUID
    conversation: Ordinal
    state: Literal["queued", "running", "done", "failed"]
    intent: str | None
    reply: str | None
    error: str | None
