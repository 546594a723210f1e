"""What bazaar costs and what it survives, by `make bench-bazaar` on a fresh install.

Prints the time to all Ready, the idle memory, the capacity, CPU and latency at a sustained rate, and what kill -9 of
each pod at half of that rate lost or doubled. Memory and CPU are the kubelet's own figures for each pod.
"""

import argparse
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
NAMESPACE = "bazaar"
IDLE_SECONDS = 30
KILL_EVERY = 10
Json = dict[str, Any]


def main() -> None:
    """Measure and print. Exits with 1 if an acknowledged message was lost or an effect doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=20, help="messages each second (default 20)")
    parser.add_argument("--seconds", type=int, default=60, help="how long (default 60)")
    parser.add_argument("--installed-at", type=float, help="when the install began, seconds since the epoch")
    options = parser.parse_args()
    if options.installed_at:
        print(f"all Ready:        {_ready_at() - options.installed_at:6.1f} s after the install began", flush=True)
    time.sleep(IDLE_SECONDS)
    _print_memory()
    capacity = _load("--rate", "0", "--seconds", "20")
    print(f"capacity:         {capacity['per_second']} messages/s, 32 in flight", flush=True)
    before = _stats()
    sustained = _load("--rate", str(options.rate), "--seconds", str(options.seconds))
    after = _stats()
    _tell(f"{options.rate:g}/s for {options.seconds} s", sustained)
    _print_cpu(before, after, sustained["done"])
    pods = sorted(after)
    killed = _load(
        "--rate", str(options.rate / 2), "--seconds", str(KILL_EVERY * (len(pods) + 1)), during=lambda: _kill(pods)
    )
    _tell(f"kill -9 of {len(pods)} pods at {options.rate / 2:g}/s", killed)
    bad = [r for r in (sustained, killed) if r["lost"] or r["orders_doubled"] or r["orders_missing"] or r["failed"]]
    if bad or killed["acknowledged"] != killed["sent"]:
        sys.exit("an acknowledged message was lost, failed or doubled")


def _load(*arguments: str, during: Callable[[], None] | None = None) -> Json:
    """Run the load in a pod; gives what it prints."""
    images = yaml.safe_load((HERE.parents[1] / "build" / "images.yaml").read_text())["images"]
    name = f"load-{uuid.uuid4().hex[:6]}"
    script = (HERE / "bazaar_load.py").read_text()
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "load",
        "image": images["runner"],
        "command": ["python3", "/load/bazaar_load.py", *arguments],
        "env": [{"name": "GATEWAY", "value": f"http://gateway.{NAMESPACE}:8080"}],
        "envFrom": [{"secretRef": {"name": "bazaar-oracle"}}],
        "securityContext": security,
        "volumeMounts": [{"name": "load", "mountPath": "/load"}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    pod = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": 900,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "load", "configMap": {"name": name}}],
    }
    labels = {"proctor.dev/run": name}  # the platform's doors are open to pods of runs
    objects: list[Json] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"bazaar_load.py": script}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": pod},
    ]
    _kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    try:
        if during:
            _until(lambda: "started" in _kubectl("logs", name, check=False), 120, "the load did not start")
            during()
        _until(lambda: _phase(name) in ("Succeeded", "Failed"), 900, "the load did not end")
        log = _kubectl("logs", name)
        if _phase(name) != "Succeeded":
            sys.exit(f"the load failed:\n{log[-2000:]}")
        result: Json = json.loads(log.strip().splitlines()[-1])
        return result
    finally:
        _kubectl("delete", "pod,configmap", name, "--ignore-not-found", "--wait=false")


def _kill(pods: list[str]) -> None:
    """Kill everything in each pod's container but its init, one pod after the other."""
    for pod in pods:
        container = _kubectl("get", "pod", pod, "-o", "jsonpath={.spec.containers[0].name}")
        print(f"  kill -9 in {pod}", flush=True)
        # The shell is spared by kill(2); the container ends with its application.
        _kubectl("exec", pod, "-c", container, "--", "sh", "-c", "kill -9 -1", check=False)
        time.sleep(KILL_EVERY)


def _tell(what: str, result: Json) -> None:
    print(f"{what}:", flush=True)
    for name, value in result.items():
        print(f"  {name:<16} {len(value) if isinstance(value, list) else value}", flush=True)


def _print_memory() -> None:
    stats = _stats()
    for name, pod in sorted(stats.items()):
        print(f"  {name:<32} {pod['memory'] / 2**20:7.1f} MB", flush=True)
    print(f"idle memory:      {sum(pod['memory'] for pod in stats.values()) / 2**20:6.0f} MB working set", flush=True)


def _print_cpu(before: dict[str, Json], after: dict[str, Json], messages: int) -> None:
    total = 0.0
    for name, pod in sorted(after.items()):
        if name in before and messages:
            used = (pod["cpu"] - before[name]["cpu"]) / 1e6 / messages
            total += used
            print(f"  {name:<32} {used:7.2f} CPU-ms per message", flush=True)
    print(f"  {'all':<32} {total:7.2f} CPU-ms per message", flush=True)


def _stats() -> dict[str, Json]:
    """CPU (ns since start) and working set (bytes) of each pod of the platform, from the kubelets."""
    found: dict[str, Json] = {}
    time.sleep(12)  # the kubelet looks every ten seconds
    for node in _kubectl("get", "nodes", "-l", "type!=kwok", "-o", "jsonpath={.items[*].metadata.name}").split():
        summary = json.loads(_kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
        for pod in summary["pods"]:
            if pod["podRef"]["namespace"] == NAMESPACE and not pod["podRef"]["name"].startswith(("load-", "preload")):
                memory = sum(c.get("memory", {}).get("workingSetBytes", 0) for c in pod["containers"])
                cpu = sum(c.get("cpu", {}).get("usageCoreNanoSeconds", 0) for c in pod["containers"])
                found[pod["podRef"]["name"]] = {"cpu": cpu, "memory": memory}
    return found


def _ready_at() -> float:
    """When the last pod became Ready, seconds since the epoch."""
    pods = json.loads(_kubectl("get", "pods", "-o", "json"))["items"]
    return max(
        datetime.fromisoformat(condition["lastTransitionTime"]).timestamp()
        for pod in pods
        for condition in pod["status"].get("conditions", [])
        if condition["type"] == "Ready" and condition["status"] == "True"
    )


def _phase(pod: str) -> str:
    return _kubectl("get", "pod", pod, "-o", "jsonpath={.status.phase}")


def _until(true: Callable[[], bool], seconds: float, complaint: str) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            sys.exit(complaint)
        time.sleep(1)


def _kubectl(*arguments: str, stdin: str | None = None, check: bool = True) -> str:
    done = subprocess.run(
        ["kubectl", "-n", NAMESPACE, *arguments], input=stdin, capture_output=True, text=True, timeout=120
    )
    if check and done.returncode:
        sys.exit(f"kubectl {' '.join(arguments[:3])}: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
