"""`python -m cluster COMMAND`: the development cluster, from any checkout.

CLUSTER=local|kind|current says which one; unset, it is kind where a Docker engine answers, else local.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Protocol

from cluster import current, kind, local
from cluster.images import ImageEngine, build_and_load, given
from cluster.progress import ClusterError, output

_EPILOG = """\
environment:
  CLUSTER=local    a cluster on this machine without Docker (Debian, root); the default without a Docker engine
  CLUSTER=kind     `kind` and Docker; the default where a Docker engine answers
  CLUSTER=current  the cluster kubectl points at; it is only checked, never changed

first steps:
  python -m cluster up                              # 10-15 minutes the first time, under a minute after that
  export KUBECONFIG=$(python -m cluster kubeconfig) PATH=$(python -m cluster bin):$PATH
  python -m cluster images                          # builds images/*, loads them, writes build/images.yaml
  python -m cluster down                            # leaves only the cache in ~/.cache/proctor
"""


class Engine(ImageEngine, Protocol):
    """What a kind of cluster can do: a module of this package with these functions."""

    def up(self, fake: int, stages: Path | None) -> None:
        """Bring it to Ready; safe to repeat."""

    def down(self) -> None:
        """Remove it; safe to repeat."""

    def status(self) -> bool:
        """Print its state; True when healthy."""

    def kubeconfig(self) -> Path:
        """The file that gives access to it."""

    def tools(self) -> Path:
        """The folder with kubectl and helm."""

    def build(self) -> None:
        """Make or check the tools."""


ENGINES: dict[str, Engine] = {"local": local, "kind": kind, "current": current}


def choose_engine(wanted: str | None) -> Engine:
    """The engine that CLUSTER names, or the default. ClusterError for a name that is none."""
    if wanted:
        if wanted not in ENGINES:
            raise ClusterError(f"CLUSTER={wanted} is none of {', '.join(ENGINES)}.")
        return ENGINES[wanted]
    return kind if output(["docker", "info"], timeout=10) is not None else local


def parser() -> argparse.ArgumentParser:
    """The command line; its help is meant to be enough to get going."""
    top = argparse.ArgumentParser(
        prog="python -m cluster",
        description="The cluster that Proctor is developed and tested on.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="bring the cluster to Ready; quick and harmless when it runs")
    up.add_argument(
        "--fake-nodes",
        type=int,
        default=0,
        metavar="N",
        help="also make N fake nodes (kwok), labelled type=kwok and tainted kwok.x-k8s.io/node=fake:NoSchedule",
    )
    up.add_argument(
        "--kwok-stages", type=Path, metavar="DIR", help="take kwok Stage files from DIR instead of cluster/stages"
    )
    commands.add_parser("down", help="end the cluster and remove everything but the per-user cache")
    commands.add_parser("status", help="what runs and whether it is healthy (exit code 1 when not)")
    commands.add_parser("kubeconfig", help="print the path of the kubeconfig")
    commands.add_parser("bin", help="print the folder with kubectl, helm and the other tools")
    commands.add_parser("build", help="only build the tools")
    images = commands.add_parser("images", help="build images/NAME, load them, write build/images.yaml for Helm")
    images.add_argument("names", nargs="*", metavar="NAME", help="default: all but those that need a Go build")
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = parser().parse_args(argv)
    try:
        engine = choose_engine(os.environ.get("CLUSTER"))
        command: str = arguments.command
        match command:
            case "up":
                engine.up(arguments.fake_nodes, arguments.kwok_stages)
            case "down":
                engine.down()
            case "status":
                return 0 if engine.status() else 1
            case "kubeconfig":
                print(engine.kubeconfig())
            case "bin":
                print(engine.tools())
            case "build":
                engine.build()
            case "images":
                if engine is current and given(arguments.names):
                    print("CLUSTER=current: using the images that build/images.yaml names.")
                else:
                    build_and_load(arguments.names, engine)
            case _:
                raise AssertionError(command)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
