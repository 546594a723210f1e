"""The cards of the planted faults: what each breaks, where, and by which property a suite must catch it.

`python images/bazaar/cards.py` prints them; with the ids of some it prints the chart's values that plant them.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

FOLDER = Path(__file__).resolve().parent / "faults"
Layer = Literal["application", "schema", "manifest", "test-side"]


class Card(BaseModel):
    """One fault, as faults/ID.yaml holds it."""

    model_config = ConfigDict(extra="forbid")
    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    layer: Layer
    site: str
    """The file, relative to the project's root, and the function or object in it: `path, name`."""
    roles: list[str]
    """The roles that have it; `migrate` is the schema, for which all that use the database restart."""
    suites: list[str] = Field(min_length=1)
    """The suites that must catch it, `t03` for t03_journeys."""
    properties: list[str] = Field(min_length=1)
    """Property ids of suites/_helpers/properties.py; a failure with one of them counts as caught."""
    plant: dict[str, Any] = Field(min_length=1, max_length=1)
    """How: {faults: "name=value@permille"}, {values: {...} for the chart} or {environment: {...} of the suite}."""
    defect: str
    equivalent_when: Annotated[str, Field(alias="equivalent-when")]
    """When a platform with this fault behaves like a healthy one."""


def read(fault: str) -> Card:
    """The card of one fault. Raises FileNotFoundError if it has none, ValueError for a file that holds another's."""
    path = FOLDER / f"{fault}.yaml"
    card = Card.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    if card.id != fault:
        raise ValueError(f"{path.name} holds the card of {card.id}")
    return card


def load() -> list[Card]:
    """All cards by id. Raises ValueError for a file that is not named after its id."""
    return [read(path.stem) for path in sorted(FOLDER.glob("*.yaml"))]


def values(ids: list[str]) -> dict[str, Any]:
    """The chart's values that plant these faults; empty for none. Raises ValueError for an id without a card."""
    known = {card.id: card for card in load()}
    unknown = [name for name in ids if name not in known]
    if unknown:
        raise ValueError(f"there is no fault {unknown[0]!r}; `make faults` lists them")
    result: dict[str, Any] = {}
    for card in map(known.__getitem__, ids):
        if "values" in card.plant:
            result |= card.plant["values"]
        for role in card.roles if "faults" in card.plant else []:
            planted = result.setdefault("faults", {})
            planted[role] = ",".join(filter(None, [planted.get(role), card.plant["faults"]]))
    return result


def main() -> None:
    """Print all cards as a table, or what plants those that are named."""
    if len(sys.argv) > 1:
        print(yaml.safe_dump(values(list(filter(None, ",".join(sys.argv[1:]).split(","))))), end="")
        return
    cards = load()
    wide = max(len(card.id) for card in cards)
    for card in cards:
        print(f"{card.id:<{wide}}  {card.layer:<11}  {','.join(card.suites):<11}  {', '.join(card.properties)}")
        print(f"{'':<{wide}}  {card.defect}")
    print(f"{len(cards)} faults; plant one with: make demo FAULTS=ID")


if __name__ == "__main__":
    main()
