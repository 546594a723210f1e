"""The agents: what each is told and which tools it may call, as agents.toml beside this file says.

Data, so that the machine that runs them stays small.
"""

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

COMPENSATIONS = {"place_order": "cancel_order", "pay_order": "refund_order"}
"""What undoes a tool's effect."""
MAX_CALLS = 5
"""A plan with more is not carried out."""


@dataclass(frozen=True)
class Agent:
    """What an agent is for, what it is told, and the tools that it may call."""

    purpose: str
    prompt: str
    tools: list[dict[str, Any]]


def _load() -> dict[str, Agent]:
    data = tomllib.loads((resources.files("bazaar.orchestrator") / "agents.toml").read_text(encoding="utf-8"))
    tools = {}
    for name, tool in data["tools"].items():
        required = tool.get("required", {})
        properties = required | {open_: data["optional"][open_] for open_ in tool.get("optional", [])}
        schema = {"type": "object", "properties": properties, "additionalProperties": False, "required": list(required)}
        tools[name] = {"name": name, "description": tool["description"], "parameters": schema}
    return {
        name: Agent(agent["purpose"], agent["prompt"], [tools[tool] for tool in agent.get("tools", [])])
        for name, agent in data["agents"].items()
    }


AGENTS = _load()
ROUTE_PROMPT = "You route messages to the agents of a web shop. Answer with the one that fits best: " + "; ".join(
    f"{name} ({agent.purpose})" for name, agent in AGENTS.items()
)
ROUTE_SCHEMA = {
    "type": "object",
    "properties": {"agent": {"type": "string", "enum": sorted(AGENTS)}},
    "required": ["agent"],
    "additionalProperties": False,
}
