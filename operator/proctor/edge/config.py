"""The operator's settings, from its environment. The chart writes it from its values."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """`namespaces` is empty for all. `max_pods` is the budget of test pods over all runs."""

    runner_image: str
    max_pods: int
    namespaces: tuple[str, ...]
    own_namespace: str
    identity: str
    port: int
    workers: int
    log_level: str


def from_environment(environ: Mapping[str, str] = os.environ) -> Config:
    """Return the settings. Raises ValueError that names the variable which is missing or wrong."""
    image = environ.get("PROCTOR_RUNNER_IMAGE", "")
    if not image:
        raise ValueError("PROCTOR_RUNNER_IMAGE must name the runner's image")
    return Config(
        runner_image=image,
        max_pods=_positive(environ, "PROCTOR_MAX_PODS", 50),
        namespaces=tuple(part.strip() for part in environ.get("PROCTOR_NAMESPACES", "").split(",") if part.strip()),
        own_namespace=environ.get("POD_NAMESPACE", "default"),
        identity=environ.get("POD_NAME") or os.uname().nodename,
        port=_positive(environ, "PROCTOR_PORT", 8081),
        workers=_positive(environ, "PROCTOR_WORKERS", 16),
        log_level=_level(environ.get("PROCTOR_LOG_LEVEL", "INFO")),
    )


def _level(text: str) -> str:
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError(f"PROCTOR_LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR, not {text!r}")
    return text.upper()


def _positive(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, str(default))
    if not text.isdigit() or int(text) == 0:
        raise ValueError(f"{name} must be a positive whole number, not {text!r}")
    return int(text)
