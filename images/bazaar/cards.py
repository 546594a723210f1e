"""The cards of the planted faults: what each breaks, where, and by which property a suite must catch it.

`python images/bazaar/cards.py` prints them.
"""

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
    """The workloads that restart when it is planted."""
    suites: list[str] = Field(min_length=1)
    """The suites that must catch it, `t03` for t03_journeys."""
    properties: list[str] = Field(min_length=1)
    """Property ids of suites/_helpers/properties.py; a failure with one of them counts as caught."""
    plant: dict[str, Any] = Field(min_length=1, max_length=1)
    """How: {faults: "name=value@permille"}, {values: {...} for the chart} or {environment: {...} of the suite}."""
    defect: str
    equivalent_when: Annotated[str, Field(alias="equivalent-when")]
    """When a platform with this fault behaves like a healthy one."""


def load() -> list[Card]:
    """All cards by id. Raises ValueError for a file that is not named after its id."""
    cards = []
    for path in sorted(FOLDER.glob("*.yaml")):
        card = Card.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        if card.id != path.stem:
            raise ValueError(f"{path.name} holds the card of {card.id}")
        cards.append(card)
    return cards


def main() -> None:
    """Print the cards as a table."""
    cards = load()
    wide = max(len(card.id) for card in cards)
    for card in cards:
        print(f"{card.id:<{wide}}  {card.layer:<11}  {','.join(card.suites):<11}  {', '.join(card.properties)}")
        print(f"{'':<{wide}}  {card.defect}")
    print(f"{len(cards)} faults; plant one with: make demo FAULTS=ID")


if __name__ == "__main__":
    main()
