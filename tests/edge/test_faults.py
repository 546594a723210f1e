"""Whose turn it is in a namespace."""

from typing import Any

import pytest

from builders import at
from core.faultworld import an_experiment
from proctor.api import names
from proctor.api.base import Condition
from proctor.api.chaos import ChaosExperiment, ChaosTarget
from proctor.api.scalars import Fault, Verdict
from proctor.core.observed import Claim
from proctor.edge.faults import Faults


def one(name: str, born: float = 0, *, namespace: str = "shop", on: bool = False, **fields: Any) -> ChaosExperiment:
    """Return an experiment that waits, or is on."""
    base = an_experiment(Fault.POD_KILL)
    meta: dict[str, Any] = {"name": name, "uid": f"uid-{name}", "namespace": namespace, "creation_timestamp": at(born)}
    told = Condition(type="Accepted", status="True", reason="x", last_transition_time=at(0))
    status: dict[str, Any] = {"conditions": [told], "targets": [ChaosTarget(pod="p", uid="u")] if on else []}
    status |= {"verdict": fields.pop("verdict", None)}
    return base.model_copy(
        update={
            "metadata": base.metadata.model_copy(update=meta | fields),
            "status": base.status.model_copy(update=status),
        }
    )


def faults(*experiments: ChaosExperiment) -> Faults:
    known = Faults()
    for experiment in experiments:
        known.put(experiment)
    return known


ME = one("me", 10)


@pytest.mark.parametrize(
    ("others", "says"),
    [
        pytest.param([], "", id="nobody"),
        pytest.param([one("a", on=True)], "a is on", id="one that is on"),
        pytest.param([one("a", 20, on=True)], "a is on", id="one that is on, though younger"),
        pytest.param([one("a", on=True, namespace="else")], "", id="elsewhere"),
        pytest.param([one("a", on=True, verdict=Verdict.PASSED)], "", id="over"),
        pytest.param([one("a", 5)], "a waits longer", id="one that waits longer"),
        pytest.param([one("a", 15)], "", id="one that waits less"),
        pytest.param([one("a", 10)], "a waits longer", id="equal age: by uid"),
        pytest.param([one("a", on=True, deletion_timestamp=at(1))], "", id="deleted before its fault"),
        pytest.param([one("a", 5, deletion_timestamp=at(1))], "", id="deleted while it waits"),
        pytest.param(
            [one("a", on=True, deletion_timestamp=at(1), finalizers=[names.FINALIZER])], "a is on", id="deleted, heals"
        ),
    ],
)
def test_one_fault_at_a_time(others: list[ChaosExperiment], says: str) -> None:
    rival = faults(ME, *others).rival_of(ME, ())
    assert says in rival
    assert bool(says) is bool(rival)


def test_what_is_being_decided_counts_as_on() -> None:
    known = faults(ME, one("a", 20))
    known.reserved.add("uid-a")
    assert "a is on" in known.rival_of(ME, ())
    assert known.rival_of(one("a", 20), ()) != "", "the older one waits longer"


def test_of_many_exactly_one_has_its_turn() -> None:
    waiting = [one(str(number), number % 3) for number in range(9)]
    known = faults(*waiting)
    free = [experiment for experiment in waiting if not known.rival_of(experiment, ())]
    assert [experiment.metadata.name for experiment in free] == ["0"]


@pytest.mark.parametrize(
    ("claim", "waits"),
    [
        ({}, True),
        ({"exclusive": False}, False),
        ({"namespace": "else"}, False),
        ({"run_uid": "mine"}, False),
    ],
)
def test_an_exclusive_step_of_another_run_goes_first(claim: dict[str, Any], waits: bool) -> None:
    mine = one("me", labels={names.LABEL_RUN_UID: "mine"})
    values = {"run_uid": "other", "step": "s", "target": "t", "exclusive": True, "pods": 1, "since": at(0)}
    held = Claim(**{**values, "namespace": "shop", **claim})
    assert bool(faults(mine).rival_of(mine, (held,))) is waits


def test_the_faults_of_a_run_are_known_by_their_label_until_they_go() -> None:
    labels = {names.LABEL_RUN_UID: "r"}
    known = Faults()
    younger, older = one("b", 2, labels=labels), one("a", 1, labels=labels, verdict=Verdict.PASSED)
    assert known.put(younger) == known.put(older) == "r"
    assert known.put(one("c")) == ""
    assert [found.metadata.name for found in known.of_run("r")] == ["a", "b"], "those with a verdict too"
    assert known.drop(younger) == known.drop(older) == "r"
    assert known.of_run("r") == ()
    assert known.on("shop") == ()
