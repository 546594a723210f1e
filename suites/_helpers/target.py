"""What a suite knows about the platform: the environment, and nothing else."""

import os
from dataclasses import dataclass, field


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

    @classmethod
    def from_environment(cls) -> "Target":
        """Read the environment. Raises RuntimeError naming every variable that is missing."""
        names = ("PROCTOR_ENDPOINT_GATEWAY", "PROCTOR_TARGET_ADMIN_KEY", "PROCTOR_TARGET_OPS_DSN", "PROCTOR_SEED")
        missing = [name for name in names if not os.environ.get(name)]
        if missing:
            raise RuntimeError(f"not set: {', '.join(missing)} (see suites/README.md)")
        gateway, admin_key, ops_dsn, seed = (os.environ[name] for name in names)
        return cls(gateway.rstrip("/"), admin_key, ops_dsn, int(seed), os.environ.get("TEST_MODE") or "MOCK")
