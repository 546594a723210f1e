"""The record of an episode: what its steps were given, asked, were told and put out.

The state of an episode is a hash chain: that of a step covers the state before it, its calls and its output. So what is
changed in a record, wherever, is seen at its step.
"""

import hashlib
import json
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field

Hash = str
MAX_EXACT = 2**53 - 1
"""The largest number that every reader of JSON takes for the same (RFC 8259, section 6)."""


def is_number(value: Any) -> Any:
    """Let only numbers through, before pydantic makes one of a text or of true. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")
    return value


Integer = Annotated[int, BeforeValidator(is_number)]
"""A number in a body: "1" and true are none, 1.0 is one."""


class _Closed(BaseModel, extra="forbid"):
    """What has no more fields than these."""


class Inputs(_Closed):
    """What an episode starts from."""

    tenant_id: UUID
    episode_id: UUID
    user_id: str
    conversation: Integer = Field(ge=1, le=2**31 - 1)
    seed: Integer = Field(ge=0, le=MAX_EXACT)
    history: list[dict[str, str]] = Field(min_length=1)
    channel: str


class Call(_Closed):
    """What a step asked of a port, and the answer as JSON; null if there was none.

    `asked` is the request in short, `request` the SHA-256 of all of it.
    """

    port: Literal["router", "model", "retriever", "tools"]
    asked: dict[str, Any]
    request: Hash
    answer: Any


class Step(_Closed):
    """A step that was done; `state` is the state of the episode after it."""

    step: str
    calls: list[Call]
    output: dict[str, Any]
    state: Hash


class Record(_Closed):
    """An episode; `state` is the one before its first step."""

    version: Literal[1] = 1
    inputs: Inputs
    state: Hash
    steps: list[Step] = Field(max_length=100)


class ReplayConfig(_Closed):
    """What a replay has another way: the seed, and prompts of agents by their names."""

    seed: Annotated[int, Field(ge=0, le=MAX_EXACT), BeforeValidator(is_number)] | None = None
    agents: dict[str, str] = {}


class ReplayIn(_Closed):
    """A record to replay.

    EXACT: model and tools answer from the record, and every step must come out as it was. SIMILAR: the model is asked
    again, and the path and the effects must be the same but for ids. ADAPTIVE: so too, with a configuration, and only
    the goal must be the same: the kinds of effects and the facts in the reply. Tools never act in a replay.
    """

    record: Record
    mode: Literal["EXACT", "SIMILAR", "ADAPTIVE"]
    config: ReplayConfig = ReplayConfig()


class ReplayedStep(_Closed):
    """A step as it came out."""

    step: str
    state: Hash


class Difference(_Closed):
    """Where a replay first differs; `inputs` stands for what is before the first step."""

    step: str
    reason: str


class ReplayOut(_Closed):
    """What came out of a replay."""

    equal: bool
    steps: list[ReplayedStep]
    first_difference: Difference | None


def digest(value: Any) -> Hash:
    """SHA-256 of a JSON value in its canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def state_before(inputs: Inputs) -> Hash:
    """The state of an episode before its first step."""
    return digest(inputs.model_dump(mode="json"))


def state_after(before: Hash, step: str, calls: list[Call], output: dict[str, Any]) -> Hash:
    """The state of an episode after a step."""
    return digest([before, step, [call.model_dump(mode="json") for call in calls], output])
