"""Configuration of every role, from `BAZAAR_*` environment variables.

Each role has a class of its own beside its code that lists exactly what it needs, so a missing variable is named at
start, and no role holds a credential that it has no use for.
"""

from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What every role knows."""

    model_config = SettingsConfigDict(env_prefix="BAZAAR_", extra="ignore", frozen=True)

    host: str = "0.0.0.0"  # noqa: S104 - a pod has one address, and clients need it
    port: int = Field(default=8080, ge=1, le=65535)
    arm: Literal["a", "b"] = "a"
    """Two arms of the platform may share the servers; each has its own task queue."""
    otlp_url: str | None = None
    """Where spans are sent by OTLP/HTTP."""
    logs_url: str | None = None
    """Where logs are sent by OTLP/HTTP, besides standard output."""
    activations_port: int | None = Field(default=None, ge=1, le=65535)
    """Where a process with planted faults tells how often each was met; not a port that suites know."""

    @classmethod
    def load(cls) -> Self:
        """Read the environment. Raises SystemExit naming the variables that are missing or wrong."""
        try:
            return cls()
        except ValidationError as error:
            wrong = [f"BAZAAR_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
            raise SystemExit("configuration is incomplete; set these variables:\n  " + "\n  ".join(wrong)) from error


class DatabaseSettings(Settings):
    """A role that uses the database as `app`."""

    app_dsn: SecretStr
    pool_size: int = Field(default=8, ge=1, le=100)
