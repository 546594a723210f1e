"""Tenants with everything in them, made from a seed: users, products, documents, orders and messages.

Every name has letters of its own seed in it, so that nothing of one tenant is equal to anything of another: what turns
up where it does not belong is known by its name. Letters only: digits may look like a card number or a phone number.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from string import ascii_lowercase
from typing import Annotated, Any, Literal, TypedDict

from annotated_types import Ge, Le
from polyfactory import Use
from polyfactory.factories import TypedDictFactory

SCOPES = ("messages:write", "episodes:read", "orders:read", "orders:write", "documents:read", "documents:write")
_KINDS = ("Mug", "Lamp", "Chair", "Notebook", "Teapot", "Backpack", "Clock", "Blanket")
_LOOKS = ("Blue", "Green", "Oak", "Copper", "Linen", "Round", "Small", "Folding")
_TOPICS = ("Returns", "Payment", "Opening hours", "Gift wrapping", "Repairs", "Delivery")
_RULES = ("within {} days", "after {} days", "for at most {} items", "in {} of our shops")
_SAYINGS = (
    "I want to buy {quantity} {name}",
    "Please send me {quantity} {name}",
    "What is your rule for {topic}?",
    "Where is my order?",
    "How are you?",
)


class User(TypedDict):
    """As in POST /v1/admin/tenants."""

    name: str
    scopes: list[str]


class Product(TypedDict):
    """As in POST /v1/admin/tenants."""

    sku: str
    name: str
    price_cents: Annotated[int, Ge(1), Le(100_000)]
    stock: Annotated[int, Ge(20), Le(1000)]


class Document(TypedDict):
    """As in POST /v1/documents:batch."""

    document_id: str
    title: str
    body: str


class Order(TypedDict):
    """As in POST /v1/orders."""

    sku: str
    quantity: Annotated[int, Ge(1), Le(5)]


class Message(TypedDict):
    """As in POST /v1/messages."""

    text: str
    channel: Literal["web", "mail", "phone"]


@dataclass(frozen=True)
class World:
    """A tenant and its life. All of it can be sent as it is."""

    seed: int
    users: list[User]
    products: list[Product]
    documents: list[Document]
    orders: list[Order]
    messages: list[Message]

    def objects(self) -> Iterator[Any]:
        """Everything that was made: the tenant itself, and all in it."""
        yield self.seed
        for made in (self.users, self.products, self.documents, self.orders, self.messages):
            yield from made

    def with_seed(self, seed: int) -> "World":
        """The same for a tenant with another seed."""
        return replace(self, seed=seed)

    def names(self) -> list[str]:
        """What only this tenant has."""
        return [
            *(user["name"] for user in self.users),
            *(product["sku"] for product in self.products),
            *(product["name"] for product in self.products),
            *(document["document_id"] for document in self.documents),
        ]


def make_world(seed: int) -> World:
    """A tenant of 2 users, 6 products, 5 documents, 6 orders and a message of each kind: 25 objects.

    They follow from `seed` (0 to 2^53 - 1), which is the tenant's own too.
    """
    chance = Random(seed)

    def letters(count: int = 13) -> str:
        return "".join(chance.choices(ascii_lowercase, k=count))

    def factory(model: Any, **fields: Any) -> type[TypedDictFactory[Any]]:
        members = {name: Use(made) for name, made in fields.items()}
        return TypedDictFactory.create_factory(model, __random__=chance, **members)

    def thing() -> str:
        return f"{chance.choice(_LOOKS)} {chance.choice(_KINDS)} {letters(8).capitalize()}"

    users = factory(User, name=lambda: f"user-{letters()}", scopes=lambda: list(SCOPES)).batch(2)
    products = factory(Product, sku=lambda: f"sku.{letters()}", name=thing).batch(6)
    documents = factory(
        Document,
        document_id=lambda: f"document-{letters()}",
        title=lambda: chance.choice(_TOPICS),
        body=lambda: f"You can use {letters(8)} {chance.choice(_RULES).format(chance.randint(2, 90))}.",
    ).batch(5)
    orders = factory(Order, sku=lambda: chance.choice(products)["sku"]).batch(6)

    sayings = iter(chance.sample(_SAYINGS, len(_SAYINGS)))

    def saying() -> str:
        topic, name = chance.choice(_TOPICS).lower(), chance.choice(products)["name"]
        return next(sayings).format(quantity=chance.randint(1, 3), name=name, topic=topic)

    messages = factory(Message, text=saying).batch(len(_SAYINGS))
    return World(seed, users, products, documents, orders, messages)
