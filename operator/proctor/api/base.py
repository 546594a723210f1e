"""The base of every model: camelCase outside, docstrings as field descriptions, unknown fields told apart by side.

A spec forbids unknown fields (a typo must not silently mean the default); a status ignores them, so that an older
operator can read what a newer one wrote.
"""

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

_COMMON = ConfigDict(
    alias_generator=to_camel,
    populate_by_name=True,
    use_attribute_docstrings=True,
    frozen=True,
)


class Rule:
    """A CEL rule on an object schema: `expression` must hold, else the API server answers `message`."""

    def __init__(self, expression: str, message: str, *, field_path: str = "") -> None:
        self.expression = expression
        self.message = message
        self.field_path = field_path


class SpecModel(BaseModel):
    """Part of a spec: unknown fields are refused. `rules` become x-kubernetes-validations."""

    model_config = ConfigDict(**_COMMON, extra="forbid")
    rules: ClassVar[tuple[Rule, ...]] = ()


class StatusModel(BaseModel):
    """Part of a status: unknown fields are ignored."""

    model_config = ConfigDict(**_COMMON, extra="ignore")
    rules: ClassVar[tuple[Rule, ...]] = ()


class Metadata(StatusModel):
    """The part of ObjectMeta that decisions need."""

    name: str
    namespace: str = "default"
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Condition(StatusModel):
    """One observation about the object, as in the Kubernetes API conventions."""

    type: str = Field(max_length=63)
    """Name of the condition in CamelCase."""
    status: Literal["True", "False", "Unknown"]
    """True, False or Unknown."""
    reason: str = Field(max_length=63)
    """One CamelCase word for programs."""
    message: str = Field(default="", max_length=1024)
    """A sentence for people."""
    last_transition_time: datetime
    """When `status` last changed."""
    observed_generation: int = 0
    """The generation of the spec that was looked at."""


class ResourceModel(StatusModel):
    """A whole custom resource. `printer_columns` and friends describe the kind to the CRD generator."""

    api_version: str
    kind: str
    metadata: Metadata

    short_name: ClassVar[str] = ""
    printer_columns: ClassVar[tuple[dict[str, Any], ...]] = ()
    selectable_fields: ClassVar[tuple[str, ...]] = ()
    description: ClassVar[str] = ""
