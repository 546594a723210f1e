"""The suites keep their rules, and each rule, broken once, is noticed."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import cards
import suites_lint
import suites_whole
from proctor.api.testsuite import TestSuite

SUITES = Path(__file__).parents[1] / "suites"
CATALOG = suites_lint.catalog(SUITES)


def test_the_suites_keep_the_rules() -> None:
    assert suites_lint.folders(SUITES)
    assert suites_lint.lint(SUITES) == []


def test_a_helper_may_assert_what_it_takes_for_granted_and_a_seeded_random_is_fine() -> None:
    text = "import random\nassert random.Random(7).random() < 1\nfrom _helpers.properties import check\n"
    assert list(suites_lint.source("t01/helper.py", text, CATALOG)) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import bazaar", "imports bazaar"),
        ("from bazaar.gateway import app", "imports bazaar.gateway.app"),
        ("def f():\n    import cassette.store", "imports cassette.store"),
        ("from proctor.core import results", "imports proctor.core.results"),
        ("import unittest.mock", "imports unittest.mock"),
        ("from unittest import mock", "imports unittest.mock"),
        ("from unittest.mock import patch", "imports unittest.mock.patch"),
        ("import respx", "imports respx"),
        ("import responses", "imports responses"),
        ("from pytest import MonkeyPatch", "imports pytest.MonkeyPatch"),
        ("def test_a(monkeypatch): pass", "the fixture monkeypatch"),
        ("def test_a(mocker): pass", "the fixture mocker"),
        ("import time\ntime.sleep(1)", "sleeps"),
        ("import asyncio\nasync def f(): await asyncio.sleep(1)", "sleeps"),
        ("from time import sleep\nsleep(1)", "sleeps"),
        ("import random\nrandom.choice([1])", "random.choice is not seeded"),
        ("import random\nrandom.seed(1)", "random.seed is not seeded"),
        ("from random import randint", "random.randint is not seeded"),
        ("import random\nrandom.Random()", "without a seed"),
        ("from random import Random\nRandom()", "without a seed"),
        ("def test_a(): assert 1 == 1", "a bare assert"),
        ("def test_a(): raise AssertionError('no')", "a bare AssertionError"),
        ("import pytest\ndef test_a(): pytest.fail('no')", "pytest.fail names no property"),
        ("check(True, 'it holds')", "check needs"),
        ("check(True, Property.MADE_UP, 'it holds')", "Property.MADE_UP is not in the catalog"),
    ],
)
def test_a_broken_rule_is_noticed(text: str, says: str) -> None:
    found = list(suites_lint.source("t01/test_a.py", text, CATALOG))
    assert [wrong for wrong in found if says in wrong], found


def _without_evidence(document: Any) -> None:
    document["spec"]["steps"][0].pop("evidence", None)


def _another_folder(document: Any) -> None:
    document["spec"]["steps"][0]["path"] = "t99_other"


def _typo(document: Any) -> None:
    document["spec"]["steps"][0]["shard"] = 2


def _another_kind(document: Any) -> None:
    document["kind"] = "TestRun"


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (_without_evidence, "has no minimum evidence"),
        (_another_folder, "runs t99_other, not t01_a"),
        (_typo, "spec.steps[0].shard"),
        (_another_kind, "is no TestSuite"),
        (None, "is not there"),
    ],
)
def test_a_broken_manifest_is_noticed(tmp_path: Path, break_it: Callable[[Any], None] | None, says: str) -> None:
    suites = tmp_path / "suites"
    shutil.copytree(SUITES / "_helpers", suites / "_helpers", ignore=shutil.ignore_patterns("__pycache__"))
    (suites / "t01_a").mkdir()
    step = {"name": "a", "path": "t01_a", "evidence": {"requests": 1}}
    document = {"apiVersion": "proctor.dev/v1alpha1", "kind": "TestSuite", "metadata": {"name": "a"}}
    document |= {"spec": {"target": {"name": "shop"}, "steps": [step]}}
    file = suites / "t01_a" / "suite.yaml"
    file.write_text(yaml.safe_dump(document))
    assert suites_lint.lint(suites) == []
    if break_it is None:
        file.unlink()
    else:
        break_it(document)
        file.write_text(yaml.safe_dump(document))
    (found,) = suites_lint.lint(suites)
    assert found.startswith("t01_a/suite.yaml:0: ")
    assert says in found


# --- the whole ---------------------------------------------------


def test_the_whole_is_the_sum_of_the_suites() -> None:
    assert (SUITES / "testsuite.yaml").read_text("utf-8") == suites_whole.whole(SUITES), "make generate writes it"
    whole = TestSuite.model_validate(yaml.safe_load(suites_whole.whole(SUITES))).spec
    parts = [yaml.safe_load((folder / "suite.yaml").read_text("utf-8")) for folder in suites_lint.folders(SUITES)]
    steps = [step for part in parts for step in TestSuite.model_validate(part).spec.steps]
    assert whole.steps == steps
    assert whole.run.triggers == [], "applying it starts nothing: who wants all of it says so"


def test_every_step_of_the_whole_has_a_target_of_make() -> None:
    makefile = (SUITES.parent / "Makefile").read_text(encoding="utf-8")
    named = {
        step for steps in re.findall(r"^test-[a-z0-9-]+: STEP := ([^#]*)##", makefile, re.M) for step in steps.split()
    }
    assert {step["name"] for step in yaml.safe_load(suites_whole.whole(SUITES))["spec"]["steps"]} <= named


def _suite(folder: Path, **spec: Any) -> None:
    folder.mkdir()
    (folder / "suite.yaml").write_text(yaml.safe_dump({"spec": spec}))


def test_the_whole_has_every_name_once(tmp_path: Path) -> None:
    web, bus = {"name": "web", "url": "http://web"}, {"name": "bus", "url": "nats://bus"}
    _suite(tmp_path / "t01", target={"name": "shop", "endpoints": [web]}, steps=[{"name": "a"}])
    env = [{"name": "A", "value": "b"}]
    _suite(
        tmp_path / "t02", target={"name": "shop", "endpoints": [web, bus]}, steps=[{"name": "b"}], runner={"env": env}
    )
    spec = yaml.safe_load(suites_whole.whole(tmp_path))["spec"]
    assert spec["target"] == {"name": "shop", "endpoints": [web, bus]}
    assert (spec["runner"], spec["steps"]) == ({"env": env}, [{"name": "a"}, {"name": "b"}])


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"target": {"name": "shop"}, "steps": [{"name": "a"}]}, "steps: another suite has a a too"),
        ({"target": {"name": "other"}, "steps": []}, "target.name is other"),
        (
            {"target": {"name": "shop", "endpoints": [{"name": "web", "url": "http://x"}]}, "steps": []},
            "target.endpoints: another suite has a web too",
        ),
    ],
)
def test_suites_that_contradict_each_other_are_no_whole(tmp_path: Path, spec: dict[str, Any], says: str) -> None:
    web = {"name": "web", "url": "http://web"}
    _suite(tmp_path / "t01", target={"name": "shop", "endpoints": [web]}, steps=[{"name": "a"}])
    _suite(tmp_path / "t02", **spec)
    with pytest.raises(ValueError, match=f"t02: {says}"):
        suites_whole.whole(tmp_path)


def test_cards_name_suites_that_are_numbered() -> None:
    known = {f"t{number:02}" for number in range(1, 11)} | {"integration"}
    assert {suite for card in cards.load() for suite in card.suites} <= known
