"""Which pods a fault takes: for any mode, seed and world within the limits."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.faultworld import a_target, an_experiment
from proctor.api import names
from proctor.api.scalars import Fault
from proctor.core.chaos.observed import TargetPod
from proctor.core.chaos.selection import choose
from proctor.core.errors import InvalidSpec

MODES = st.sampled_from([{"mode": "One"}, {"mode": "All"}]) | st.builds(
    lambda mode, value: {"mode": mode, "value": value}, st.sampled_from(["Fixed", "Percent"]), st.integers(1, 100)
)
PODS = st.lists(
    st.builds(
        lambda name, ready, going: a_target(name, deleting=going, **({} if ready else {"ready_since": None})),
        st.integers(0, 40).map("pod-{}".format),
        st.booleans(),
        st.booleans(),
    ),
    max_size=12,
    unique_by=lambda pod: pod.name,
)
LIMITS = st.builds(lambda p, c: {"maxPercent": p, "maxCount": c}, st.integers(1, 100), st.integers(1, 12))


def chosen(pods: list[TargetPod], uid: str = "a", **spec: Any) -> list[str] | InvalidSpec:
    try:
        return [pod.name for pod in choose(an_experiment(Fault.POD_KILL, **spec).spec, pods, uid)]
    except InvalidSpec as refused:
        return refused


@given(pods=PODS, mode=MODES, limits=LIMITS, seed=st.none() | st.integers(0, 9))
def test_invariant_7_never_more_than_the_limits(
    pods: list[TargetPod], mode: dict[str, Any], limits: dict[str, int], seed: int | None
) -> None:
    ready = [pod.name for pod in pods if pod.ready_since and not pod.deleting]
    found = chosen(pods, limits=limits, seed=seed, **mode)
    wanted = {"One": 1, "All": len(ready), "Fixed": mode.get("value", 0)}.get(
        mode["mode"], max(1, len(ready) * mode.get("value", 0) // 100)
    )
    if isinstance(found, InvalidSpec):
        if found.reason == names.TARGET_NOT_FOUND:
            assert not ready or wanted > len(ready)
        else:
            assert found.reason == names.LIMITS_EXCEEDED
            assert wanted > limits["maxCount"] or wanted * 100 > limits["maxPercent"] * len(ready)
        return
    assert len(found) == wanted <= limits["maxCount"]
    assert len(found) * 100 <= limits["maxPercent"] * len(ready)
    assert set(found) <= set(ready), "only Ready pods that stay are hit"
    assert found == sorted(set(found))


@given(pods=PODS, data=st.data(), mode=MODES, seed=st.integers(0, 99))
def test_the_choice_depends_on_the_seed_and_the_names_only(
    pods: list[TargetPod], data: st.DataObject, mode: dict[str, Any], seed: int
) -> None:
    wide = {"limits": {"maxPercent": 100, "maxCount": 100}}
    shuffled = data.draw(st.permutations(pods))
    first, second = chosen(pods, "a", seed=seed, **wide, **mode), chosen(shuffled, "b", seed=seed, **wide, **mode)
    assert str(first) == str(second)


def test_another_seed_is_another_choice() -> None:
    pods = [a_target(f"pod-{number}") for number in range(10)]
    assert len({str(chosen(pods, seed=seed)) for seed in range(300)}) == 10
    assert len({str(chosen(pods, uid=str(uid))) for uid in range(300)}) == 10, "without one the uid is the seed"


@given(seed=st.integers(0, 99), count=st.integers(1, 9))
def test_a_larger_choice_holds_the_smaller_one(seed: int, count: int) -> None:
    pods = [a_target(f"pod-{number}") for number in range(10)]
    small, large = (chosen(pods, seed=seed, mode="Fixed", value=value) for value in (count, count + 1))
    assert isinstance(small, list)
    assert isinstance(large, list)
    assert set(small) < set(large)
