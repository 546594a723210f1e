"""What a suite knows about the platform: the environment, and nothing else."""

import os
from dataclasses import dataclass, field

MODES = ("MOCK", "GOLDEN", "LIVE_SMOKE")
GOLDEN_SEED = 1
"""The suites' seed in GOLDEN, whatever PROCTOR_SEED says: that of the committed cassettes."""


@dataclass(frozen=True)
class Target:
    """The platform under test."""

    gateway: str
    """Base URL of the public API."""
    admin_key: str = field(repr=False)
    ops_dsn: str = field(repr=False)
    """DSN of a role that may read every row and change none."""
    seed: int
    mode: str
    """How the model is asked for the tenants of the suites: one of MODES."""

    @classmethod
    def from_environment(cls) -> "Target":
        """Read the environment. Raises RuntimeError naming every variable that is missing, or the mode that is none."""
        names = ("PROCTOR_ENDPOINT_GATEWAY", "PROCTOR_TARGET_ADMIN_KEY", "PROCTOR_TARGET_OPS_DSN", "PROCTOR_SEED")
        missing = [name for name in names if not os.environ.get(name)]
        if missing:
            raise RuntimeError(f"not set: {', '.join(missing)} (see suites/README.md)")
        gateway, admin_key, ops_dsn, seed = (os.environ[name] for name in names)
        mode = mode_of_environment()
        return cls(gateway.rstrip("/"), admin_key, ops_dsn, GOLDEN_SEED if mode == "GOLDEN" else int(seed), mode)


def mode_of_environment() -> str:
    """TEST_MODE, MOCK by default. Raises RuntimeError for a value that is no mode."""
    mode = os.environ.get("TEST_MODE") or "MOCK"
    if mode not in MODES:
        raise RuntimeError(f"TEST_MODE is {mode!r}, expected one of {', '.join(MODES)}")
    return mode


def endpoint(name: str) -> str:
    """The address of an endpoint, by its name in suite.yaml. Raises RuntimeError if the environment has none."""
    variable = f"PROCTOR_ENDPOINT_{name.upper().replace('-', '_')}"
    if not os.environ.get(variable):
        raise RuntimeError(f"not set: {variable} (see suites/README.md)")
    return os.environ[variable].rstrip("/")
