"""What an observer has to watch, read from its environment. The operator writes it (core.agents)."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from proctor.api import names
from proctor.core.timeline import CONTROL, PROBE, TARGET
from proctor.runner.chaos.checks import Check, accepts, command, nats, prometheus, web

VERSION = 1
DNS_PORT = 53


class InvalidWatch(Exception):
    """The plan cannot be read. The text says what is wrong and where."""


@dataclass(frozen=True)
class Target:
    """One pod, and where a connection to it is held."""

    name: str
    host: str
    port: int


@dataclass(frozen=True)
class WatchPlan:
    """What to watch, and for how many seconds.

    A loss may begin up to `allowance` after all was seen to be well, it lasts `duration`, and then there is `recovery`
    for all to be well again. `gone`: pods that are lost do not come back under their address.
    """

    experiment: str
    pod: str
    targets: tuple[Target, ...]
    checks: tuple[Check, ...]
    allowance: float
    duration: float
    recovery: float
    gone: bool


def load(root: Path) -> WatchPlan:
    """Return what to watch. Raises InvalidWatch."""
    try:
        plan = json.loads(os.environ[names.ENV_OBSERVE])
        if plan["version"] != VERSION:
            raise InvalidWatch(
                f"{names.ENV_OBSERVE}: version {plan['version']!r} is unknown, this observer reads version {VERSION}"
            )
        checks = [_target(one) for one in plan["targets"]]
        checks += [_probe(one) for one in plan["probes"]]
        nameserver = _nameserver(root / "etc/resolv.conf")
        checks.append(Check("nameserver", CONTROL, lambda: accepts(nameserver, DNS_PORT)))
        return WatchPlan(
            experiment=str(plan["experiment"]),
            pod=os.environ.get(names.ENV_POD_UID, ""),
            targets=tuple(Target(str(one["pod"]), str(one["host"]), int(one["port"])) for one in plan["targets"]),
            checks=tuple(checks),
            allowance=float(plan["allowance"]),
            duration=float(plan["duration"]),
            recovery=float(plan["recovery"]),
            gone=plan.get("gone") is True,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidWatch(f"{names.ENV_OBSERVE} cannot be read: {type(error).__name__}: {error}") from error


def _target(one: Mapping[str, Any]) -> Check:
    name, host, port, path = str(one["pod"]), str(one["host"]), int(one["port"]), one.get("path")
    if path is None:
        return Check(name, TARGET, lambda: accepts(host, port))
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}{path}"
    return Check(name, TARGET, lambda: web(url, 100, 499))


def _probe(one: Mapping[str, Any]) -> Check:
    name = str(one["name"])
    if "http" in one:
        url = str(one["http"]["url"])
        return Check(name, PROBE, lambda: web(url, 200, 299))
    if "nats" in one:
        host, port = _address(one["nats"])
        return Check(name, PROBE, lambda: nats(host, port))
    if "tcp" in one:
        host, port = _address(one["tcp"])
        return Check(name, PROBE, lambda: accepts(host, port))
    if "prometheus" in one:
        address, query = str(one["prometheus"]["url"]), str(one["prometheus"]["query"])
        return Check(name, PROBE, lambda: prometheus(address, query))
    arguments = [str(argument) for argument in one["argv"]]
    # Starting a process costs more than opening a connection, so it is done less often, and may take longer.
    return Check(name, PROBE, lambda: command(arguments), timeout=5.0, period=1.0)


def _address(value: Mapping[str, Any]) -> tuple[str, int]:
    parts = urlsplit(f"//{value['address']}")
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"{value['address']!r} is not host:port")
    return parts.hostname, parts.port


def _nameserver(file: Path) -> str:
    for line in file.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1:
            return words[1]
    raise ValueError(f"{file} names no nameserver")
