"""Configuration, from `CASSETTE_*` environment variables."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Mode = Literal["MOCK", "GOLDEN", "LIVE_SMOKE"]


class Settings(BaseSettings):
    """What the proxy needs."""

    model_config = SettingsConfigDict(env_prefix="CASSETTE_", frozen=True)
    host: str = "0.0.0.0"  # noqa: S104 - a pod has one address, and clients need it
    port: int = Field(default=8080, ge=1, le=65535)
    mock_url: str
    """The upstream of MOCK, of recordings and of `verify`."""
    live_url: str | None = None
    """The upstream of LIVE_SMOKE."""
    live_key: SecretStr | None = None
    """What the live upstream is shown as a bearer token."""
    mode: Mode = "MOCK"
    """The mode of a call without the header X-Proctor-Mode."""
    admin_key: SecretStr = Field(min_length=16)
    folder: Path = Path("/data")
    max_calls: int = Field(default=100, ge=0)
    max_tokens: int = Field(default=200_000, ge=0)
    activations_port: int | None = Field(default=None, ge=1, le=65535)
    """Where a process with planted faults tells how often each was met; not a port that suites know."""
