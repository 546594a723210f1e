"""A customer on a journey: takes its steps and remembers what was said."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import httpx
from _fixtures.shops import Shop
from _helpers.client import User, accepted
from _helpers.properties import Property, check
from _helpers.stream import listening

Step = Mapping[str, Any]


@dataclass
class Customer:
    """One user of a shop. `values` fill the {names} in steps, `chance` picks the phrasings."""

    gateway: str
    shop: Shop
    user: User
    values: Mapping[str, Any]
    chance: random.Random
    said: list[tuple[Step, str]] = field(default_factory=list)
    """Steps that were messages, with the ids of their episodes."""
    _conversation: int | None = None

    def take(self, step: Step) -> None:
        """Take a step and wait for its end. Raises AssertionError if it fails, or comes out otherwise a second time."""
        key = {"Idempotency-Key": f"key-{self.chance.getrandbits(64):x}"}
        if "call" in step:
            method, path = step["call"].format(**self.values).split()
            self._call(step, lambda: self.user.request(method, path, json=fill(step["body"], self.values), headers=key))
            return
        body = {"text": self.chance.choice(step["says"]).format(**self.values), "channel": step.get("channel", "web")}
        if self._conversation is not None:
            body["conversation"] = self._conversation
        self._say(step, lambda: self.user.request("POST", "/v1/messages", json=body, headers=key))

    def _call(self, step: Step, send: Callable[[], httpx.Response]) -> None:
        answers = [(answer.status_code, answer.text) for answer in (send() for _ in range(2 if "twice" in step else 1))]
        seen = f"{step['call']} gave {answers[0][0]}, expected {step['status']}"
        check(answers[0][0] == step["status"], Property.GOAL_STATE, seen)
        seen = f"{step['call']} gave {answers[-1][0]} when it was sent again, expected the first answer"
        check(answers[-1] == answers[0], Property.EFFECT_ONCE, seen)

    def _say(self, step: Step, send: Callable[[], httpx.Response]) -> None:
        episode_id = self._over_a_cut(send) if step.get("stream") == "cut" else accepted(send())
        self._conversation = self.user.wait(episode_id)["conversation"]
        self.said.append((step, episode_id))
        if "twice" in step:
            seen = "a message sent again gave another episode, expected the first one's"
            check(accepted(send()) == episode_id, Property.EFFECT_ONCE, seen)

    def _over_a_cut(self, send: Callable[[], httpx.Response]) -> str:
        """Send while listening, lose the line at the first frame, listen again from there to the episode's end."""
        assert self._conversation is not None, "a journey's first message has no conversation to listen to"
        (conversation,) = self.shop.rows("conversations", conversation=self._conversation)
        before = conversation["frames"]
        with listening(self.gateway, self.user, self._conversation, before) as frames:
            episode_id = accepted(send())
            seen = [next(frames)]
        with listening(self.gateway, self.user, self._conversation, seen[0]["seq"]) as frames:
            seen += takewhile(lambda frame: frame["type"] != "ended", frames)
        (episode,) = self.shop.rows("episodes", episode_id=episode_id)
        numbers, expected = [frame["seq"] for frame in seen], list(range(before + 1, episode["last_frame"]))
        told = f"frames {numbers} up to the end over a line that broke, expected {expected}"
        check(numbers == expected, Property.STREAM_RESUME, told)
        check(seen[-1]["data"].get("text") == episode["reply"], Property.ANSWER, "the last frame is not the reply")
        return episode_id


def fill(goal: Any, values: Mapping[str, Any]) -> Any:
    """Data with each "{name}" replaced by its value, type included."""
    if isinstance(goal, dict):
        return {key: fill(value, values) for key, value in goal.items()}
    if isinstance(goal, list):
        return [fill(value, values) for value in goal]
    if isinstance(goal, str) and goal.startswith("{"):
        return values[goal[1:-1]]
    return goal
