"""What a suite says of the pods that run its tests. Kubernetes itself validates most of it."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from proctor.api.base import LocalReference, Rule, SpecModel
from proctor.api.names import GROUP
from proctor.api.scalars import ObjectName, Text

Preserved = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
"""A part of the pod that Kubernetes itself validates: we check it by a strict dry run when the suite is accepted."""

PreservedList = Annotated[
    list[Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]],
    Field(max_length=64),
]


class PodTemplate(SpecModel):
    """What is added to the runner's pods."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!has(self.labels) || self.labels.all(k, !k.startsWith('{GROUP}/'))",
            f"{GROUP}/ labels are reserved for the operator",
            holds=lambda template: not any(key.startswith(f"{GROUP}/") for key in template.labels),
            field_path=".labels",
        ),
        Rule(
            f"!has(self.annotations) || self.annotations.all(k, !k.startsWith('{GROUP}/'))",
            f"{GROUP}/ annotations are reserved for the operator",
            holds=lambda template: not any(key.startswith(f"{GROUP}/") for key in template.annotations),
            field_path=".annotations",
        ),
    )

    labels: dict[str, Text] = Field(default_factory=dict, max_length=32)
    """Labels for the pods; proctor.dev/ labels are reserved."""
    annotations: dict[str, Text] = Field(default_factory=dict, max_length=32)
    """Annotations for the pods; proctor.dev/ annotations are reserved."""
    volumes: PreservedList = Field(default_factory=list)
    """Volumes, as in a pod."""
    volume_mounts: PreservedList = Field(default_factory=list)
    """Mounts in the runner's container, as in a pod."""


class Runner(SpecModel):
    """The pods that run the tests."""

    image: str | None = Field(default=None, min_length=1, max_length=512)
    """Any image with Python 3.10 or newer and pytest. Default: the operator's own runner image."""
    resources: Preserved = Field(default_factory=dict)
    """Requests and limits of the runner's container."""
    env: PreservedList = Field(default_factory=list)
    """Environment variables, as in a pod."""
    env_from: PreservedList = Field(default_factory=list)
    """Environment from ConfigMaps and Secrets, as in a pod."""
    node_selector: dict[str, Text] = Field(default_factory=dict, max_length=16)
    """Labels of the nodes that may run the pods."""
    tolerations: PreservedList = Field(default_factory=list)
    """Taints that the pods tolerate."""
    affinity: Preserved = Field(default_factory=dict)
    """Affinity of the pods."""
    service_account_name: ObjectName | None = None
    """Service account of the pods. Its token is not mounted. Default: "default"."""
    image_pull_secrets: list[LocalReference] = Field(default_factory=list, max_length=8)
    """Secrets for pulling the image."""
    pod_template: PodTemplate | None = None
    """Further labels, annotations and volumes of the pods."""
