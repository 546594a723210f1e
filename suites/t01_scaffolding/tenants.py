"""Tenants of made worlds, and their conversations: what the tests of modes and of factories look at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from _fixtures.factories import World
from _fixtures.shops import Platform, Tenant
from _fixtures.tenants import MakeTenant
from _helpers.client import User, accepted
from _helpers.model import new_trace
from _helpers.properties import Property, check


@dataclass(frozen=True)
class Resident:
    """A tenant that has what its world has."""

    world: World
    tenant: Tenant
    platform: Platform
    trace_id: str
    """The trace of all that `talk` says."""
    headers: dict[str, str]

    @property
    def users(self) -> list[User]:
        return [self.tenant.users[user["name"]] for user in self.world.users]

    def rows(self, table: str, **equal: Any) -> list[dict[str, Any]]:
        return self.platform.database.rows(table, self.tenant.tenant_id, **equal)

    def talk(self, count: int) -> list[dict[str, Any]]:
        """The first user says the world's first messages in one conversation; gives the episodes as they ended."""
        user, conversation, episodes = self.users[0], None, []
        for message in self.world.messages[:count]:
            body = dict(message) if conversation is None else {**message, "conversation": conversation}
            episodes.append(user.wait(accepted(user.request("POST", "/v1/messages", json=body, headers=self.headers))))
            conversation = episodes[-1]["conversation"]
        return episodes

    def replies(self) -> list[str]:
        """What the database holds of the answers, in order."""
        said = sorted(self.rows("messages", role="assistant"), key=lambda row: (row["conversation"], row["ordinal"]))
        return [row["content"] for row in said]

    def tokens(self) -> list[tuple[int, int]]:
        """What each episode cost by the database, in the order of the answers."""
        cost = {row["episode_id"]: (row["prompt_tokens"], row["completion_tokens"]) for row in self.rows("usage")}
        said = sorted(self.rows("messages", role="assistant"), key=lambda row: (row["conversation"], row["ordinal"]))
        return [cost[row["episode_id"]] for row in said]


MoveIn = Callable[[World, str], Resident]
"""Makes a tenant of a world, in a mode."""


def move_in(platform: Platform, tenant: MakeTenant, seeded: Random, world: World, mode: str) -> Resident:
    """Make a tenant and give it all that can be given; what the platform refuses of it is `factory`."""
    made = tenant(seed=world.seed, mode=mode, users=world.users, products=world.products)
    trace_id, headers = new_trace(made.tenant_id, seeded)
    resident = Resident(world, made, platform, trace_id, headers)
    stored = resident.users[0].request("POST", "/v1/documents:batch", json={"documents": world.documents})
    seen = f"POST /v1/documents:batch gave {stored.status_code}, expected 200"
    check(stored.status_code == 200, Property.FACTORY, seen)
    return resident


def all_done(episodes: Sequence[dict[str, Any]]) -> str:
    """ "" if all episodes are done, else the first that is not."""
    return next((f"{e['state']} ({e['error']})" for e in episodes if e["state"] != "done"), "")
