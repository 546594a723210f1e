"""The base of every model: camelCase outside, docstrings as field descriptions, unknown fields told apart by side.

A spec forbids unknown fields (a typo must not silently mean the default); a status ignores them, so that an older
operator can read what a newer one wrote.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from typing_extensions import override

from proctor.api.scalars import ObjectName, Text

_COMMON = ConfigDict(
    alias_generator=to_camel,
    populate_by_name=True,
    use_attribute_docstrings=True,
    frozen=True,
)


class Rule:
    """What must hold between the fields of an object, said to the API server in CEL and to pydantic in Python.

    `expression` must be true of `self`, else the answer is `message`, at `field_path` below the object (".steps").
    `holds` says the same of the model. Only a rule that compares with `oldSelf` has no `holds`: pydantic sees one
    object at a time.
    """

    def __init__(
        self, expression: str, message: str, *, holds: Callable[[Any], bool] | None = None, field_path: str = ""
    ) -> None:
        self.expression = expression
        self.message = message
        self.holds = holds
        self.field_path = field_path

    def as_validation(self) -> dict[str, str]:
        """Return the rule as an item of x-kubernetes-validations."""
        validation = {"rule": self.expression, "message": self.message}
        if self.field_path:
            validation["fieldPath"] = self.field_path
        return validation


class SpecModel(BaseModel):
    """Part of a spec: unknown fields are refused, and `rules` and the keys of keyed lists are checked."""

    model_config = ConfigDict(**_COMMON, extra="forbid")
    rules: ClassVar[tuple[Rule, ...]] = ()
    mutable_fields: ClassVar[tuple[str, ...]] = ()
    """If not empty: the CRD generator writes one rule that makes every other field immutable, presence included."""

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        for rule in self.rules:
            if rule.holds is not None and not rule.holds(self):
                raise ValueError(f"{rule.field_path}: {rule.message}" if rule.field_path else rule.message)
        return self

    @model_validator(mode="after")
    def _check_list_keys(self) -> Self:
        for field, info in type(self).model_fields.items():
            extra = info.json_schema_extra
            if not isinstance(extra, dict) or "x-list-key" not in extra:
                continue
            seen: set[str] = set()
            for item in getattr(self, field):
                value = str(getattr(item, str(extra["x-list-key"])))
                if value in seen:
                    raise ValueError(f".{info.alias or field}: {extra['x-list-key']} {value!r} is there twice")
                seen.add(value)
        return self

    @classmethod
    @override
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Hand `rules` and `mutable_fields` to the CRD generator, inside the schema of their object."""
        schema = handler(core_schema)
        target = handler.resolve_ref_schema(schema)
        if cls.rules:
            target["x-kubernetes-validations"] = [rule.as_validation() for rule in cls.rules]
        if cls.mutable_fields:
            target["x-mutable-fields"] = list(cls.mutable_fields)
        return schema


class StatusModel(BaseModel):
    """Part of a status: unknown fields are ignored."""

    model_config = ConfigDict(**_COMMON, extra="ignore")


class LocalReference(SpecModel):
    """Another object in the same namespace."""

    name: ObjectName
    """Name of the object."""


class LabelSelector(SpecModel):
    """Labels that the chosen objects all carry."""

    match_labels: dict[str, Text] = Field(min_length=1, max_length=16)
    """Every one of these must match."""


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
    finalizers: list[str] = Field(default_factory=list)


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

    def as_owner(self) -> dict[str, Any]:
        """Return the owner reference that makes this resource the controller of a child."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.metadata.name,
            "uid": self.metadata.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }


def explain(error: ValidationError) -> str:
    """Return what is wrong as one line for people, each trouble with its path: `spec.steps[0].shards: ...; ...`."""
    troubles = []
    for trouble in error.errors(include_url=False):
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in trouble["loc"]).lstrip(".")
        cause = trouble.get("ctx", {}).get("error")
        text = str(cause) if isinstance(cause, ValueError) else trouble["msg"]
        # Rules about a field of the object start with its path, because pydantic puts them at the object.
        joint = "" if text.startswith(".") or not path else ": "
        troubles.append((path + joint + text).lstrip("."))
    return "; ".join(troubles)
