"""Tests with faults on loopback: the platform as kept processes, the real runner, a stand-in of the API server.

What a pod of the step would have, the runner has here: its plan, a credential, and ChaosExperiments that are carried
out, on processes. Run as a program it is a rehearsal by hand: `python tests/bazaar/rehearsal.py t07_chaos/faults`.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kept import Keeper, Operator
from loopback import ROOT, Platform, free_port, platform, roles

from runner.conftest import Pod, Ran
from runner.kube_api import api

PATIENCE_SECONDS = 900


@dataclass(frozen=True)
class Stage:
    """A platform whose processes can be harmed."""

    platform: Platform
    keeper: Keeper

    def run(self, folder: Path, path: str, *args: str, seed: int = 11) -> Ran:
        """Run a path within suites/ as a step's pod does, in a new folder."""
        for name in ("proctor/plan", "proctor/work", "dev", "tmp"):
            (folder / name).mkdir(parents=True)
        (folder / "dev/termination-log").touch()
        (folder / "suites").symlink_to(ROOT / "suites")
        step = {
            "name": "step",
            "path": path,
            "args": list(args),
            "shards": 1,
            "timeoutSeconds": PATIENCE_SECONDS - 60,
            "retry": {"attempts": 1, "backoffSeconds": 0, "factor": 2, "maxBackoffSeconds": 1},
            "source": {"kind": "Image"},
            "quarantine": [],
            "evidence": [],
        }
        with api(folder, Operator(self.keeper)) as server:
            there = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
            alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
            told = self.platform.suite_environment(seed)
            pod = Pod(folder, step=step, env={**told, **there, **alone}, seed=seed, patience=PATIENCE_SECONDS)
            return pod.run()


@contextmanager
def stage(faults: str = "") -> Iterator[Stage]:
    """The platform with two orchestrators, and `faults` planted."""
    keeper = Keeper()
    with (
        tempfile.TemporaryDirectory() as second,
        platform(faults, keeper.run, keeper.line.to) as running,
        roles({"orchestrator": free_port()}, Path(second), running.environment, keeper.run),
    ):
        yield Stage(running, keeper)


def main() -> None:
    """Run a path, and print what came of each test."""
    parser = argparse.ArgumentParser(prog="rehearsal", description=__doc__)
    parser.add_argument("path", help="within suites/: t07_chaos/faults")
    parser.add_argument("args", nargs="*", help="for pytest, after --")
    parser.add_argument("--faults", default="", help="what to plant, as the cards say")
    parser.add_argument("--seed", type=int, default=11, help="the suites' seed (default 11)")
    parser.add_argument("--times", type=int, default=1, help="how often, each with the next seed")
    options = parser.parse_args()
    with stage(options.faults) as ready:
        for seed in range(options.seed, options.seed + options.times):
            with tempfile.TemporaryDirectory() as folder:
                ran = ready.run(Path(folder) / "pod", options.path, *options.args, seed=seed)
                if not ran.of_kind("attempt"):
                    print(ran.stderr, file=sys.stderr)
                for attempt in ran.of_kind("attempt"):
                    said = attempt["reason"] or ""
                    print(f"{attempt['outcome']:8} {attempt['duration']:6.1f} s  {attempt['test']}  {said}", flush=True)
                print(f"seed {seed}: {ran.counts} evidence {dict(ran.summary.evidence)}", flush=True)


if __name__ == "__main__":
    main()
