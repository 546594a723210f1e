"""`python3 -m proctor.runner.chaos`: watch a target, do something to it, and make it well again.

The operator starts these commands: `observe` and `outage` in pods of their own, the others as ephemeral containers in
a target's pod. What a command says is one sealed line of JSON in its termination message.
"""

import argparse
import asyncio
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from proctor.api import names
from proctor.runner.chaos import netcut, outage, pause
from proctor.runner.chaos.account import Account, Refused, hold_signals
from proctor.runner.chaos.kill import kill
from proctor.runner.chaos.observer import observe
from proctor.runner.chaos.scale import KINDS, Scale
from proctor.runner.chaos.watchplan import InvalidWatch, load
from proctor.runner.output import Records, TerminationLog, say

_LONGEST = 24 * 3600.0
_EPILOG = """\
Exit codes: 0 done, and the report is complete; 1 refused or failed, and the report says why in `error` and `message`
(a word and a sentence); 137 when the kernel ended the command along with the target's PID 1: the report is the trace
that it left before it acted, with "complete": false.

  cut     --experiment UID --not-after 1764000000 --port 4222 --seconds 8
  uncut   --experiment UID
  kill    --experiment UID --not-after 1764000000
  pause   --experiment UID --not-after 1764000000 --seconds 8
  resume  --experiment UID
  outage  --experiment UID --not-after 1764000000 --seconds 8 --kind Deployment --name dlq --replicas 1
  restore --experiment UID --kind Deployment --name dlq --replicas 1
"""


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    return _observe(options.root) if options.command == "observe" else _act(options)


def _observe(root: Path) -> int:
    try:
        plan = load(root)
    except InvalidWatch as error:
        say(str(error))
        return 1
    asyncio.run(observe(plan, root))
    return 0


def _act(options: argparse.Namespace) -> int:
    """Let an agent act, and see that its report tells how that ended."""
    hold_signals()
    log = TerminationLog(options.root / names.TERMINATION_LOG.lstrip("/"))
    account = Account(options.experiment, options.command, options.not_after, log)
    try:
        _AGENTS[options.command](account, options)
        account.tell(complete=True)
    except Refused as refusal:
        account.tell(complete=True, error=refusal.reason, message=str(refusal))
    except Exception as error:
        traceback.print_exc()
        account.tell(complete=True, error=names.AGENT_CRASHED, message=f"{type(error).__name__}: {error}")
    Records().write({key: value for key, value in asdict(account.deed).items() if value not in (None, "", ())})
    return 1 if account.deed.error else 0


def _scale(options: argparse.Namespace) -> Scale:
    return Scale(options.root, os.environ, options.kind, options.name)


def _outage(account: Account, options: argparse.Namespace) -> None:
    outage.outage(account, _scale(options), options.replicas, options.seconds, options.root / outage.NOTE.lstrip("/"))


_AGENTS: dict[str, Callable[[Account, argparse.Namespace], None]] = {
    "cut": lambda account, options: netcut.cut(account, options.port, options.seconds),
    "uncut": lambda account, options: netcut.uncut(account),
    "kill": lambda account, options: kill(account),
    "pause": lambda account, options: pause.pause(account, options.seconds),
    "resume": lambda account, options: pause.resume(account),
    "outage": _outage,
    "restore": lambda account, options: outage.restore(account, _scale(options), options.replicas),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m proctor.runner.chaos",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", type=Path, default=Path("/"), help="where /dev, /etc, /tmp and /var begin, for tests")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "observe",
        help=f"watch targets and probes; the plan is in {names.ENV_OBSERVE}, losses are printed as they come",
    )
    cut = _agent(commands, "cut", "drop what a TCP port of this pod sends and gets; the kernel ends it (NET_ADMIN)")
    _agent(commands, "uncut", "end a cut, and remove what it left behind; right at any time (NET_ADMIN)")
    _agent(commands, "kill", "SIGKILL all processes below the target's PID 1 (as the target's user)")
    stop = _agent(commands, "pause", "SIGSTOP all processes below the target's PID 1, then SIGCONT (as its user)")
    _agent(commands, "resume", "SIGCONT all processes of the target; right at any time (as the target's user)")
    away = _agent(commands, "outage", "scale a workload to zero, then back (with a token for its scale)")
    back = _agent(commands, "restore", "scale a workload back from zero; right at any time (with such a token)")
    cut.add_argument("--port", type=_port, required=True, help="1 to 65535")
    for command in (cut, stop, away):
        command.add_argument("--seconds", type=_seconds, required=True, help="how long the fault lasts; 1.5 is fine")
    for command in (away, back):
        command.add_argument("--kind", choices=KINDS, required=True)
        command.add_argument("--name", required=True, help="of the workload, in the pod's namespace")
        command.add_argument("--replicas", type=_replicas, required=True, help="to go back to")
    return parser


def _agent(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, what: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    command.add_argument("--experiment", required=True, metavar="UID", help="of the ChaosExperiment")
    command.add_argument(
        "--not-after",
        type=float,
        required=name in ("cut", "kill", "pause", "outage"),
        metavar="SECONDS",
        help="since 1970; later nothing is injected, and the error is TooLate. What heals is never too late",
    )
    return command


def _port(text: str) -> int:
    return int(_between(text, 1, 65535))


def _replicas(text: str) -> int:
    return int(_between(text, 1, 100_000))


def _seconds(text: str) -> float:
    return _between(text, 0.1, _LONGEST)


def _between(text: str, least: float, most: float) -> float:
    value = float(text)
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text} is not between {least:g} and {most:g}")
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
