import pytest

from proctor.edge.config import from_environment

GIVEN = {"PROCTOR_RUNNER_IMAGE": "runner:1"}


def test_what_is_not_given_has_a_default() -> None:
    config = from_environment(GIVEN | {"POD_NAME": "pod", "PROCTOR_NAMESPACES": "a, b,"})
    assert (config.runner_image, config.max_pods, config.namespaces) == ("runner:1", 50, ("a", "b"))
    assert (config.identity, config.log_level) == ("pod", "INFO")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"PROCTOR_RUNNER_IMAGE": ""}, "PROCTOR_RUNNER_IMAGE"),
        ({"PROCTOR_MAX_PODS": "0"}, "PROCTOR_MAX_PODS"),
        ({"PROCTOR_MAX_PODS": "many"}, "PROCTOR_MAX_PODS"),
        ({"PROCTOR_LOG_LEVEL": "loud"}, "PROCTOR_LOG_LEVEL"),
    ],
)
def test_a_wrong_value_is_named(wrong: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        from_environment(GIVEN | wrong)
