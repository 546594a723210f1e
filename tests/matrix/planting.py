"""The platform in the cluster: plant a fault by an upgrade of its chart, and count how often the fault was met."""

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

import cards

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "bazaar"
ASK = "from urllib.request import urlopen as get; print(get('http://127.0.0.1:8099').read().decode())"
"""Activations are told on a pod's own loopback only."""
METRIC = "fault_activations_total"


def plant(card: cards.Card | None) -> None:
    """Upgrade the platform so that it has exactly this fault; only the pods that it concerns restart.

    Raises RuntimeError with Helm's message.
    """
    values = cards.values([card.id] if card else [])
    command = ["upgrade", "--install", "bazaar", "helm/bazaar", "--namespace", NAMESPACE, "--create-namespace"]
    command += ["--values", "build/images.yaml", "--values", "helm/bazaar/values-observability.yaml", "--values", "-"]
    run("helm", *command, "--wait", "--timeout", "5m", stdin=yaml.safe_dump(values))


def activations(card: cards.Card | None) -> int | None:
    """How often the fault was met since it was planted; None where there is none or nothing counts it."""
    if card is None or card.layer != "application":
        return None
    pods = json.loads(run("kubectl", "-n", NAMESPACE, "get", "pods", "-o", "json"))["items"]
    met = 0
    for pod in pods:
        # Those that end are from before the fault.
        serves = pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        if serves and pod["metadata"]["labels"].get("app.kubernetes.io/name") in card.roles:
            name = pod["metadata"]["name"]
            answer = run("kubectl", "-n", NAMESPACE, "exec", name, "--", "python", "-c", ASK)
            for family in text_string_to_metric_families(answer):
                met += sum(int(s.value) for s in family.samples if s.name == METRIC and s.labels["fault"] == card.id)
    return met


def run(program: str, *arguments: str, stdin: str | None = None) -> str:
    """The output of a program. Raises RuntimeError with what it said when it fails."""
    done = subprocess.run(
        [program, *arguments], input=stdin, capture_output=True, text=True, timeout=600, cwd=ROOT, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{program} {' '.join(arguments[:4])}: {done.stderr.strip()[-1000:]}")
    return done.stdout


def apply(manifest: dict[str, Any]) -> None:
    """Create an object, strictly: an unknown field is an error."""
    run("kubectl", "create", "--validate=strict", "-f", "-", stdin=json.dumps(manifest))
