"""A namespace that has opted in to faults, with something small in it that they can hit."""

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from e2e.world import World, named
from proctor.api import names
from proctor.core import timeline
from proctor.core.chaos import manifests
from proctor.edge.client import ApiError, Client, Json

ROOT = Path(__file__).parents[2]
PATIENCE = 100.0
WEB = {"app": "web"}


class FaultWorld(World):
    """A world whose namespace allows faults; `image` is the runner's, which the targets use too."""

    def __init__(self, client: Client, namespace: str, image: str) -> None:
        super().__init__(client, namespace)
        self.image = image

    async def grant(self) -> None:
        """Give the operator the rights that the chart has for this namespace."""
        arguments = ["--set", f"chaos.namespaces={{{self.namespace}}}", "--show-only", "templates/chaos.yaml"]
        rendered = [one for one in yaml.safe_load_all(_helm_template(*arguments)) if one and one["kind"] != "Job"]
        await self.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(rendered).encode())

    async def web(self, replicas: int = 1, **pod: Any) -> None:
        """Bring up a Deployment `web` that answers HTTP on port 8080 under an init; `pod` changes its pods' spec."""
        container = {
            "name": "web",
            "image": self.image,
            "command": ["catatonit", "--", "python3", "-m", "http.server", "8080", "--directory", "/suites"],
            "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1, "timeoutSeconds": 2},
        } | pod.pop("container", {})
        spec = {
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532},
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        } | pod
        body = named("apps/v1", "Deployment", "web") | {
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": WEB},
                "template": {"metadata": {"labels": WEB}, "spec": spec},
            }
        }
        await self.client.create("deployments", self.namespace, body)
        await self.ready(replicas)

    async def ready(self, count: int) -> list[Json]:
        """Wait until so many web pods are Ready, and return them."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found, _ = await self.client.list("pods", self.namespace, "app=web")
            ready = [pod for pod in found if _is_ready(pod)]
            if len(ready) == count == len(found):
                return ready
            await asyncio.sleep(0.2)
        raise AssertionError(f"{len(ready)} of {count} web pods were Ready within {PATIENCE:.0f} s")

    async def fault(self, name: str, **spec: Any) -> Json:
        """Apply an experiment on the web pods."""
        target = {} if "targetRef" in spec else {"selector": {"matchLabels": WEB}}
        limits = {"maxPercent": 100, "maxCount": 5}
        body = named(names.API_VERSION, names.CHAOS_EXPERIMENT, name)
        return await self.client.create(
            "chaosexperiments", self.namespace, body | {"spec": {"limits": limits} | target | spec}
        )

    async def experiment(self, name: str, true: Callable[[Json], bool], patience: float = PATIENCE) -> Json:
        """Wait until something is true of an experiment's status, and return that status."""
        status: Json = {}
        end = time.monotonic() + patience
        while time.monotonic() < end:
            status = (await self.client.get("chaosexperiments", self.namespace, name)).get("status") or {}
            if true(status):
                return status
            await asyncio.sleep(0.1)
        raise AssertionError(f"{name} did not get there within {patience:.0f} s; its status is {json.dumps(status)}")

    async def judged(self, name: str) -> Json:
        """Wait for an experiment's verdict and return its status."""
        return await self.experiment(name, lambda status: "verdict" in status)

    async def gone(self, name: str, patience: float = 60) -> float:
        """Wait until an experiment does not exist any more; return how long that took, in seconds."""
        began = time.monotonic()
        while time.monotonic() < began + patience:
            try:
                last = await self.client.get("chaosexperiments", self.namespace, name)
            except ApiError as error:
                if error.status != 404:
                    raise
                return time.monotonic() - began
            await asyncio.sleep(0.2)
        raise AssertionError(f"{name} is still there after {patience:.0f} s: {json.dumps(last)}")

    async def helpers(self) -> dict[str, Json]:
        """Return the pods that experiments have made, by role."""
        found, _ = await self.client.list("pods", self.namespace, names.LABEL_EXPERIMENT_UID)
        return {pod["metadata"]["labels"][names.LABEL_ROLE]: pod for pod in found}

    async def report(self, uid: str) -> timeline.Timeline:
        """Wait for the observer's last word and return it."""
        pod = await self._ended(manifests.OBSERVER)
        return timeline.decode(_message(pod), experiment=uid, pod=pod["metadata"]["uid"])

    async def deed(self, role: str, uid: str) -> timeline.Deed:
        """Wait for the last word of an experiment's pod and return it."""
        return timeline.decode_deed(_message(await self._ended(role)), experiment=uid, action=role)

    async def _ended(self, role: str) -> Json:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            pod = (await self.helpers()).get(role)
            if pod and "terminated" in pod["status"].get("containerStatuses", [{}])[0].get("state", {}):
                return pod
            await asyncio.sleep(0.2)
        raise AssertionError(f"the pod for {role} did not end within {PATIENCE:.0f} s")


def conditions(status: Json) -> dict[str, str]:
    """Return the truth of each condition."""
    return {one["type"]: one["status"] for one in status.get("conditions", [])}


def is_true(kind: str) -> Callable[[Json], bool]:
    """Return what asks a status whether a condition is True, or whether it ended before."""

    def asked(status: Json) -> bool:
        if conditions(status).get(kind) == "True":
            return True
        assert "verdict" not in status, f"it ended before {kind}: {json.dumps(status)}"
        return False

    return asked


def agents(pod: Json) -> list[str]:
    """Return the names of our containers in a target pod."""
    return [one["name"] for one in pod["spec"].get("ephemeralContainers") or []]


def _message(pod: Json) -> str:
    message: str = pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"]
    return message


def _is_ready(pod: Json) -> bool:
    said = {one["type"]: one["status"] for one in pod["status"].get("conditions") or []}
    return said.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def _helm_template(*arguments: str) -> str:
    helm = shutil.which("helm")
    assert helm is not None, "helm comes with the cluster: PATH=$(python -m cluster bin):$PATH"
    images = ["--set", "images.operator=localhost/o:1,images.runner=localhost/r:1"]
    command = [helm, "template", "proctor", str(ROOT / "helm/proctor"), "--namespace", "proctor-system"]
    done = subprocess.run([*command, *images, *arguments], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout
