"""A pod with a git repository, made from the runner's image: what git sources are tested against.

Two servers show the same files: `git daemon`, which gives out single commits, and a plain web server, from which git
can only have a whole branch.
"""

import asyncio
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from e2e.world import World, named
from proctor.edge.client import Json

PATIENCE = 60.0
"""Seconds in which the pod must serve."""
_POD = "git"
_WORK = "/srv/work"
_IDENTITY = [
    {"name": f"GIT_{who}_{what}", "value": value}
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Somebody"), ("EMAIL", "somebody@example.com"))
]


class GitServer:
    """A repository with the branch `main`, in a pod of the test's namespace. Addresses hold for pods."""

    def __init__(self, world: World, address: str) -> None:
        self._world = world
        self.url = f"git://{address}/work"
        self.web = f"http://{address}:8000"
        self.web_url = f"{self.web}/work/.git"
        # The web server waits for the end of a line, and git for an answer.
        self.mute_url = f"git://{address}:8000/work"
        self.closed_url = f"git://{address}:9/work"

    @classmethod
    async def start(cls, world: World) -> "GitServer":
        """Start the pod, and return when both servers are ready."""
        images = yaml.safe_load((Path(__file__).parents[2] / "build" / "images.yaml").read_text())["images"]
        await world.client.create("pods", world.namespace, _pod(images["runner"]))
        for _ in range(int(PATIENCE / 0.2)):
            status = (await world.client.get("pods", world.namespace, _POD))["status"]
            if any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", [])):
                await world.kubectl("exec", _POD, "-c", "git", "--", "git", "init", "-q", "-b", "main", _WORK)
                return cls(world, status["podIP"])
            await asyncio.sleep(0.2)
        raise AssertionError(f"the git server is not ready after {PATIENCE:.0f} s; its status is {status}")

    async def commit(self, archive: bytes) -> str:
        """Add an archive's files to the branch in one commit, and return the commit's id."""
        await self._run("tar", "-xz", "-C", _WORK, stdin=archive)
        await self._git("add", "--all", "--force")
        await self._git("commit", "--quiet", "--message", "change")
        await self._git("update-server-info")
        return (await self._git("rev-parse", "HEAD")).strip()

    async def publish(self, name: str) -> None:
        """Let the web server have an empty file `/name`."""
        await self._run("touch", f"/srv/{name}")

    async def _git(self, *arguments: str) -> str:
        return await self._run("git", "-C", _WORK, *arguments)

    async def _run(self, *command: str, stdin: bytes = b"") -> str:
        return await self._world.kubectl("exec", "-i", _POD, "-c", "git", "--", *command, stdin=stdin)


def archive(files: Mapping[str, str]) -> bytes:
    """Return files by path as a tar.gz."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def _pod(image: str) -> Json:
    git = ["git", "daemon", "--export-all", "--base-path=/srv", "/srv"]
    web = ["python3", "-m", "http.server", "8000", "--directory", "/srv"]
    spec = {
        "containers": [_container("git", image, git, 9418, _IDENTITY), _container("web", image, web, 8000, [])],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "volumes": [{"name": "srv", "emptyDir": {}}],
    }
    return named("v1", "Pod", _POD) | {"spec": spec}


def _container(name: str, image: str, command: list[str], port: int, env: list[Json]) -> Json:
    return {
        "name": name,
        "image": image,
        "command": command,
        "env": env,
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1, "failureThreshold": 60},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "srv", "mountPath": "/srv"}],
    }
