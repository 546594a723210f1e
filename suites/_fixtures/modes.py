"""What each TEST_MODE asks of a session: which tests run, and what must be there before the first does.

MOCK       all tests; the scripted model answers.
GOLDEN     no test marked `mock_only`; the suite's cassettes answer, and nobody else.
LIVE_SMOKE only tests marked `smoke`; the live upstream answers until the proxy's ceiling is reached.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from _helpers.cassettes import CassetteProxy
from _helpers.target import Target, mode_of_environment

SMOKE_CALLS = 60
"""More than what the smoke tests of one run ask for. With fewer left of the ceiling they would fail on the way."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what does not belong to the mode."""
    try:
        mode = mode_of_environment()
    except RuntimeError as error:
        raise pytest.UsageError(str(error)) from error
    left_out = [item for item in items if not _belongs(item, mode)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if _belongs(item, mode)]


def _belongs(item: pytest.Item, mode: str) -> bool:
    if mode != "MOCK" and item.get_closest_marker("mock_only"):
        return False
    return mode != "LIVE_SMOKE" or item.get_closest_marker("smoke") is not None


@pytest.fixture(scope="session")
def target() -> Target:
    """The platform under test, from the environment."""
    return Target.from_environment()


@pytest.fixture(scope="session")
def cassette_proxy(target: Target) -> Iterator[CassetteProxy]:
    """The proxy between the platform and its model, PROCTOR_ENDPOINT_CASSETTE."""
    with CassetteProxy.of_environment(target.admin_key) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def model_ready(target: Target, request: pytest.FixtureRequest) -> None:
    """What answers the model's calls in this mode is there.

    GOLDEN: the committed cassettes of the suites that run are in the proxy; RuntimeError if there are none and no
    recording is on. Shards do this at the same time and with the same result. LIVE_SMOKE: the proxy has an upstream
    and enough calls left, or all tests are skipped as inconclusive.
    """
    if target.mode == "MOCK":
        return
    proxy: CassetteProxy = request.getfixturevalue("cassette_proxy")
    if target.mode == "LIVE_SMOKE":
        if refusal := proxy.refusal_of_live_call():
            pytest.skip(f"inconclusive: the proxy makes no live call: {refusal}")
        left = proxy.live()["max_calls"] - proxy.live()["calls"]
        if left < SMOKE_CALLS:
            pytest.skip(f"inconclusive: {left} live calls are left of the proxy's ceiling, expected {SMOKE_CALLS}")
        return
    root = request.config.rootpath
    recording = proxy.recording()
    for suite in sorted({item.path.relative_to(root).parts[0] for item in request.session.items}):
        _put_all(proxy, root / suite / "cassettes", recording)


def _put_all(proxy: CassetteProxy, folder: Path, recording: str | None) -> None:
    files = sorted(folder.glob("*.jsonl"))
    if not files and recording is None:
        raise RuntimeError(
            f"GOLDEN has nothing to replay: {folder} has no *.jsonl (`proctor cassettes record` makes one)"
        )
    for file in files:
        if file.stem != recording:  # what the proxy holds is not recorded
            proxy.put(file.stem, file.read_text(encoding="utf-8"))
