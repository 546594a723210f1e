"""Fake nodes by kwok: thousands of pods that start and finish without a machine, for measuring controllers.

kwok runs beside the kubelet inside the cluster's namespaces and plays the stages of its own module (pod and node
"fast", node heartbeat), with two differences from cluster/stages: a Job's pod ends once it carries
proctor.dev/fake-summary, with that annotation as its termination message, as a real runner would; and a deleted pod
ends before it goes, as a kubelet would see to.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cluster.progress import output as capture
from cluster.progress import run, wait_for
from cluster.settings import STATE
from cluster.tools import GROUPS, group_dir, module_dir, text_key

STAGES = Path(__file__).resolve().parent / "stages"
_MODULE_STAGES = (
    "pod/fast/pod-ready",
    "node/fast/node-initialize",
    "node/heartbeat/node-heartbeat",
)


def start(count: int, kubectl: Sequence[str], stages: Path = STAGES) -> str:
    """Have `count` Ready fake nodes. `stages` holds more kwok Stage files, one YAML document or more each."""
    (STATE / "kwok").mkdir(exist_ok=True)
    module = module_dir(GROUPS["kwok"], "sigs.k8s.io/kwok") / "kustomize" / "stage"
    files = [*(module / f"{name}.yaml" for name in _MODULE_STAGES), *sorted(stages.glob("*.yaml"))]
    text = "---\n".join(path.read_text() for path in files)
    (STATE / "kwok" / "stages.yaml").write_text(text)
    service = {
        "argv": [
            str(group_dir(GROUPS["kwok"]) / "kwok"),
            f"--kubeconfig={STATE}/kubeconfig",
            f"--config={STATE}/kwok/stages.yaml",
            "--manage-nodes-with-label-selector=type=kwok",
            "--cidr=198.18.255.0/24",
            "--node-ip=198.18.255.1",
            "--node-lease-duration-seconds=40",
            "--v=WARN",
        ],
        "needs": [f"{STATE}/kubeconfig"],
        "stages": text_key(text),  # New stages are a new service: the node then starts kwok again.
    }
    scratch = STATE / "kwok" / "service.json"
    scratch.write_text(json.dumps(service))
    scratch.rename(STATE / "services" / "kwok.json")
    nodes = {"apiVersion": "v1", "kind": "List", "items": [_node(index) for index in range(count)]}
    (STATE / "kwok" / "nodes.json").write_text(json.dumps(nodes))
    log = STATE / "log" / "fake-nodes.log"
    run([*kubectl, "apply", "-f", STATE / "kwok" / "nodes.json"], log=log, timeout=120, hint="is the cluster healthy?")

    def ready() -> bool:
        text = capture([*kubectl, "get", "nodes", "-l", "type=kwok", "-o", "json"]) or '{"items": []}'
        conditions = [item["status"].get("conditions", []) for item in json.loads(text)["items"]]
        return sum(any(c["type"] == "Ready" and c["status"] == "True" for c in own) for own in conditions) >= count

    wait_for(ready, "the fake nodes", timeout=60, hint=f"read {STATE}/log/kwok.log")
    return "ready"


def _node(index: int) -> dict[str, object]:
    capacity = {"cpu": "10k", "memory": "10Ti", "pods": "100k"}
    name = f"kwok-{index}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"type": "kwok", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
            "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
        },
        "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]},
        "status": {"allocatable": capacity, "capacity": capacity},
    }
