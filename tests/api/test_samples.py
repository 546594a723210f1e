import pytest
from pydantic import ValidationError

from api.samples import BAD, GOOD, Sample
from proctor.api import crd
from proctor.api.base import explain

MODELS = {model.__name__: model for model in crd.KINDS}


def title(sample: Sample) -> str:
    return f"{sample.kind}: {sample.title}"


@pytest.mark.parametrize("sample", GOOD, ids=title)
def test_good_samples_are_read_and_written_back_unchanged(sample: Sample) -> None:
    spec = (
        MODELS[sample.kind]
        .model_validate(sample.document())
        .model_dump(mode="json", by_alias=True, exclude_unset=True)["spec"]
    )
    assert spec == sample.spec


@pytest.mark.parametrize("sample", BAD, ids=title)
def test_bad_samples_are_refused_at_the_field(sample: Sample) -> None:
    with pytest.raises(ValidationError) as caught:
        MODELS[sample.kind].model_validate(sample.document())
    said = explain(caught.value)
    # The path in full: followed by the complaint, and not the beginning of a longer one.
    assert any(trouble.startswith(f"{sample.path}: ") for trouble in said.split("; ")), said
    assert sample.word in said


def test_every_trouble_is_told() -> None:
    document = Sample("", "TestRun", {"suiteRef": {"name": "A"}, "seed": -1}).document()
    with pytest.raises(ValidationError) as caught:
        MODELS["TestRun"].model_validate(document)
    assert [trouble.split(":")[0] for trouble in explain(caught.value).split("; ")] == [
        "spec.suiteRef.name",
        "spec.seed",
    ]


def test_good_samples_set_every_field_of_every_spec() -> None:
    """A field that no good sample sets is a field that no API server was asked about."""

    def paths(node: object, at: str) -> set[str]:
        if isinstance(node, dict):
            return {at} | {path for key, value in node.items() for path in paths(value, f"{at}.{key}")}
        if isinstance(node, list):
            return {path for item in node for path in paths(item, at)}
        return {at}

    def fields(schema: crd.Schema, at: str) -> set[str]:
        schema = schema.get("items", schema)
        return {at} | {p for key, child in schema.get("properties", {}).items() for p in fields(child, f"{at}.{key}")}

    for kind, model in MODELS.items():
        spec = crd.document(model)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        shown = {path for sample in GOOD if sample.kind == kind for path in paths(sample.spec, "spec")}
        assert fields(spec, "spec") - shown == set()
