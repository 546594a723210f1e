"""What an observer's report proves, and what it does not."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import at
from core.faultworld import an_experiment
from proctor.api import names
from proctor.api.chaos import ChaosTarget
from proctor.api.scalars import Fault, Verdict
from proctor.core.chaos import judge
from proctor.core.timeline import CONTROL, PROBE, RECOVERED, TARGET, Held, Loss, Timeline, Track

HIT = ChaosTarget(pod="shop-0", uid="u0", injected_at=at(10), healed_at=at(20))
SHORT = [Fault.POD_KILL, Fault.PROCESS_KILL]


def ms(seconds: float) -> int:
    return round(at(seconds).timestamp() * 1000)


def a_report(
    new: tuple[float, float | None] | None = (10, 22),
    held: float | None = 13,
    *,
    probe: tuple[float, float | None] | None = None,
    control: tuple[float, float | None] | None = None,
    **fields: Any,
) -> Timeline:
    """Return a report on shop-0 with at most one loss of each kind, in seconds after T0."""
    tracks = [_track("shop-0", TARGET, new), _track("home", PROBE, probe), _track("dns", CONTROL, control)]
    values: dict[str, Any] = {"good": True, "good_at": ms(5), "end": RECOVERED, "tracks": tuple(tracks)}
    values["held"] = (Held("shop-0", None if held is None else ms(held)),)
    return Timeline("x", "y", **{**values, **fields})


def _track(name: str, role: str, loss: tuple[float, float | None] | None) -> Track:
    losses = () if loss is None else (Loss(ms(loss[0]), None if loss[1] is None else ms(loss[1])),)
    return Track(name, role, losses=losses)


def effect(fault: Fault, report: Timeline, *targets: ChaosTarget, **spec: Any) -> bool:
    return judge.effect(an_experiment(fault, **spec).spec, targets or [HIT], report).seen


@pytest.mark.parametrize(
    ("fault", "new", "held", "probe", "seen"),
    [
        pytest.param(Fault.NETWORK_CUT, (10, 22), 13, None, True, id="cut: both"),
        pytest.param(Fault.NETWORK_CUT, (10, 22), None, None, False, id="cut: the old connection went on"),
        pytest.param(Fault.NETWORK_CUT, None, 13, None, False, id="cut: new connections went on"),
        pytest.param(Fault.NETWORK_CUT, None, 13, (10, 22), False, id="cut: a probe is not enough"),
        pytest.param(Fault.POD_KILL, (10, None), 11, None, True, id="pod: held"),
        pytest.param(Fault.POD_KILL, (10, None), None, (10, 11), False, id="pod: the old connection went on"),
        pytest.param(Fault.PROCESS_KILL, None, 10, None, True, id="kill: restarted between two looks"),
        pytest.param(Fault.PROCESS_KILL, (10, 12), None, None, False, id="kill: the old connection went on"),
        pytest.param(Fault.PAUSE, (10, 20), None, None, True, id="pause: no answer"),
        pytest.param(Fault.PAUSE, None, None, (10, 20), True, id="pause: a probe"),
        pytest.param(Fault.PAUSE, None, 13, None, False, id="pause: went on answering"),
        pytest.param(Fault.OUTAGE, (10, None), 10, None, True, id="outage: both"),
        pytest.param(Fault.OUTAGE, (10, None), None, None, False, id="outage: the old connection went on"),
        pytest.param(Fault.OUTAGE, None, 10, None, False, id="outage: new connections went on"),
    ],
)
def test_each_fault_has_its_signs(
    fault: Fault, new: tuple[float, float | None] | None, held: float | None, probe: Any, seen: bool
) -> None:
    assert effect(fault, a_report(new, held, probe=probe)) is seen


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize(
    "report",
    [
        pytest.param(a_report(good=False, good_at=None), id="not good before"),
        pytest.param(a_report(good=False), id="good was taken back"),
        pytest.param(a_report(good_at=ms(13), probe=(14, 15)), id="good only after the fault"),
        pytest.param(a_report(None, None), id="no loss"),
        pytest.param(a_report((7, 9), 7, probe=(7, 9)), id="a loss from before that was over"),
        pytest.param(a_report((23, 24), 23, probe=(23, 24)), id="a loss after"),
        pytest.param(a_report(probe=(10, 12), control=(9, 10)), id="the observer's network failed too"),
        pytest.param(a_report(probe=(10, 12), control=(5, None)), id="the observer's network never came back"),
        pytest.param(replace(a_report(), tracks=(), held=()), id="the target was not watched"),
        pytest.param(
            replace(a_report(), tracks=(_track("shop-9", TARGET, (10, 12)),), held=(Held("shop-9", ms(10)),)),
            id="another target",
        ),
    ],
)
def test_invariant_6_no_effect_without_an_observer_that_was_good_and_saw_the_loss(
    fault: Fault, report: Timeline
) -> None:
    assert not effect(fault, report)
    assert effect(fault, a_report(probe=(10, 12))), "the sane twin"


@given(new=st.floats(-60, 90), held=st.floats(-60, 90), fault=st.sampled_from(list(Fault)), good=st.floats(-60, 90))
def test_invariant_6_a_loss_counts_inside_its_window_only(new: float, held: float, fault: Fault, good: float) -> None:
    report = a_report((new, new + 1), held, good_at=ms(good))
    slack = judge.SLACK.total_seconds() + 0.002
    if effect(fault, report):
        assert good <= 10 + slack
        assert any(10 - slack <= loss <= 20 + slack for loss in (new, held))


@pytest.mark.parametrize("fault", list(Fault))
def test_every_target_must_be_seen_to_be_hit(fault: Fault) -> None:
    second = HIT.model_copy(update={"pod": "shop-1"})
    report = a_report(probe=None)
    assert not effect(fault, report, HIT, second)
    both = replace(
        report, tracks=(*report.tracks, _track("shop-1", TARGET, (11, 12))), held=(*report.held, Held("shop-1", ms(12)))
    )
    assert effect(fault, both, HIT, second)


def test_a_cut_that_is_shorter_than_the_keep_alive_needs_no_frozen_connection() -> None:
    brief = HIT.model_copy(update={"healed_at": at(13)})
    assert effect(Fault.NETWORK_CUT, a_report((10, 13), None), brief, duration="3s")
    assert not effect(Fault.NETWORK_CUT, a_report(None, None), brief, duration="3s")


@pytest.mark.parametrize(
    ("report", "ready", "gone", "back"),
    [
        pytest.param(a_report((10, 24)), 0, False, 24, id="when it answers"),
        pytest.param(a_report((10, 15)), 0, False, 20, id="not before the heal"),
        pytest.param(a_report((10, 24)), 31, False, 31, id="when it is Ready"),
        pytest.param(a_report((10, 24), probe=(10, 28)), 0, False, 28, id="when the probe holds"),
        pytest.param(a_report((10, None)), 0, False, None, id="never"),
        pytest.param(a_report((10, 24), probe=(10, None)), 0, False, None, id="the probe never"),
        pytest.param(a_report((10, None)), 25, True, 25, id="its address cannot come back"),
        pytest.param(a_report((10, None), probe=(10, None)), 25, True, None, id="gone, and the probe never"),
        pytest.param(a_report((10, 24), control=(10, None)), 0, False, 24, id="the control is not the target"),
    ],
)
def test_when_the_target_was_well_again(report: Timeline, ready: float, gone: bool, back: float | None) -> None:
    found = judge.recovered_at(report, at(20), at(ready), gone=gone)
    assert found == (None if back is None else at(back))


@pytest.mark.parametrize(
    ("shown", "back", "verdict", "reason"),
    [
        (True, 22, Verdict.PASSED, names.PASSED),
        (True, 50, Verdict.PASSED, names.PASSED),
        (True, 50.1, Verdict.FAILED, names.NOT_RECOVERED),
        (True, None, Verdict.FAILED, names.NOT_RECOVERED),
        (False, 22, Verdict.INCONCLUSIVE, names.NOT_EFFECTIVE),
        (False, 50.1, Verdict.FAILED, names.NOT_RECOVERED),
        (False, None, Verdict.FAILED, names.NOT_RECOVERED),
    ],
)
def test_the_worst_counts(shown: bool, back: float | None, verdict: Verdict, reason: str) -> None:
    spec = an_experiment(recoveryTimeout="30s").spec
    found = judge.verdict(judge.Effect(shown, "x"), None if back is None else at(back), at(20), spec)
    assert (found.verdict, found.reason) == (verdict, reason)


@pytest.mark.parametrize("fault", list(Fault))
def test_a_killed_pod_was_gone_when_its_connection_was(fault: Fault) -> None:
    """The operator sees its end late if it was away; that must not be given to the target as time to recover."""
    found = judge.over(an_experiment(fault).spec, [HIT], a_report(held=12))
    assert found == (at(12) if fault is Fault.POD_KILL else at(20))
    outside = judge.over(an_experiment(fault).spec, [HIT], a_report(held=3))
    assert outside == at(20), "a loss outside the window is not the kill's"


@pytest.mark.parametrize(
    ("probe", "held"), [(None, True), ((10, 12), False), ((3, None), False), ((2, 7), True), ((23, 25), True)]
)
def test_the_steady_state_is_that_of_the_time_of_the_fault(probe: Any, held: bool) -> None:
    assert judge.steady([HIT], a_report(probe=probe))[0] is held
