"""Configuration of every role, from `BAZAAR_*` environment variables.

One class per role lists exactly what that role needs, so a missing variable is named at start, and no role holds a
credential that it has no use for.
"""

from typing import Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What every role knows."""

    model_config = SettingsConfigDict(env_prefix="BAZAAR_", extra="ignore", frozen=True)

    host: str = "0.0.0.0"  # noqa: S104 - a pod has one address, and clients need it
    port: int = Field(default=8080, ge=1, le=65535)

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


class GatewaySettings(DatabaseSettings):
    """What the gateway needs."""

    relay_dsn: SecretStr
    nats_url: SecretStr
    redis_url: SecretStr
    admin_key: SecretStr = Field(min_length=16)


class OrchestratorSettings(DatabaseSettings):
    """What the orchestrator needs."""

    nats_url: SecretStr
    model_url: str
    tools_url: str
    internal_key: SecretStr = Field(min_length=16)
    concurrency: int = Field(default=16, ge=1, le=256)


class ToolsSettings(DatabaseSettings):
    """What the tools need."""

    internal_key: SecretStr = Field(min_length=16)


class ModelSettings(Settings):
    """What the model server needs."""

    ledger_path: str
    upstream: str = "first"


class MigrateSettings(Settings):
    """What bringing the database up to date needs."""

    superuser_dsn: SecretStr
    app_password: SecretStr
    relay_password: SecretStr
    ops_password: SecretStr
