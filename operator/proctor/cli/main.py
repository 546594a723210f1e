"""The command line: one parser, one table of what each sub-command does. `kubectl proctor` is the same program."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from typing_extensions import override

from proctor import __version__
from proctor.api.scalars import Mode, seconds
from proctor.cli import cassettes, checkout, run
from proctor.cli.errors import INTERRUPTED, USAGE, CommandError
from proctor.cli.proxy import ENV_KEY, Way
from proctor.cli.watch import watch

_EPILOG = """\
Exit codes of `watch` and `run --wait`:
  0 Passed    1 Failed    2 Error    3 Inconclusive
  4 no verdict within --timeout      5 the command itself could not go on
  64 wrong usage                     130 interrupted (the run goes on)

The shortest path to a verdict:
  proctor up                                  a cluster on this machine, with Proctor in it
  kubectl apply -f docs/examples/hello.yaml   a TestRun
  proctor watch hello                         its progress and verdict
"""
_CASSETTES = """\
What the platform's proxy has, and what of it nobody has asked for since the proxy started:
  proctor cassettes list -n bazaar

Would the model still say so? Code 1 if not, with what differs:
  proctor cassettes verify journeys -n bazaar
  proctor cassettes verify suites/t03_journeys/cassettes/journeys.jsonl -n bazaar

Record again, from nothing, with a run in the cluster or with pytest on this machine:
  proctor cassettes record journeys -n bazaar --file suites/t03_journeys/cassettes/journeys.jsonl -- \\
    proctor run journeys -n bazaar --mode GOLDEN --wait
  TEST_MODE=GOLDEN proctor cassettes record journeys --url "$PROCTOR_ENDPOINT_CASSETTE" \\
    --file suites/t03_journeys/cassettes/journeys.jsonl -- pytest suites/t03_journeys

The recording ends when the command ends, also by Ctrl-C. The file is replaced only if the command ended with 0; its
code is that of `record`. While a recording is on, GOLDEN calls of everybody are recorded, so let nothing else run.
What another cassette of the proxy already answers is not recorded again.
"""
_CLUSTER_COMMANDS = {
    "up": "bring up the local cluster of this checkout",
    "down": "take the local cluster down",
    "status": "say what of the local cluster is there",
}


class _Parser(argparse.ArgumentParser):
    """Usage errors get a code of their own: argparse's 2 would read as the verdict Error."""

    @override
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def _duration(text: str) -> int:
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="proctor",
        description="Run tests in a Kubernetes cluster as resources, and read their verdicts.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"proctor {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    namespaced = _Parser(add_help=False)
    namespaced.add_argument("-n", "--namespace", metavar="NS", help="default: the namespace of kubectl's context")
    namespaced.add_argument(
        "--timeout",
        type=_duration,
        default=3600,
        metavar="DURATION",
        help='how long to wait for the verdict, such as 90s or 1h30m (default: "1h"); the run itself is not ended',
    )

    start = commands.add_parser(
        "run",
        parents=[namespaced],
        help="start one run of a TestSuite",
        description="Create a TestRun of a TestSuite and print its name; with --wait, watch it until its verdict.",
    )
    start.add_argument("suite", metavar="SUITE", help="name of the TestSuite (`kubectl get psuite` lists them)")
    start.add_argument("--wait", action="store_true", help="watch the run, and end with the code of its verdict")
    start.add_argument(
        "--join", action="store_true", help="if a run of the suite goes on (`kubectl apply` starts one), take that one"
    )
    start.add_argument(
        "--step", action="append", default=[], metavar="NAME", help="run only this step; may be repeated"
    )
    start.add_argument("--mode", choices=[mode.value for mode in Mode], help="instead of the suite's mode")
    start.add_argument("--seed", type=int, help="seed of every random choice, to repeat an earlier run")

    look = commands.add_parser(
        "watch",
        parents=[namespaced],
        help="show the progress of a TestRun until its verdict",
        description="Show the progress of a TestRun and end with the code of its verdict (see `proctor --help`).",
    )
    look.add_argument("run", metavar="RUN", help="name of the TestRun (`kubectl get prun` lists them)")

    _add_cassettes(commands)

    crds = commands.add_parser(
        "crds",
        help="generate the CRDs of this checkout from its models",
        description="The CRDs in crds/ and in the chart come from the models in operator/proctor/api.",
    )
    what = crds.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true", help="write what is not current")
    what.add_argument("--check", action="store_true", help="end with code 1 if anything is not current")

    for name, text in _CLUSTER_COMMANDS.items():
        commands.add_parser(
            name,
            add_help=False,
            help=text,
            description=f"{text.capitalize()}: `python -m cluster {name}`, whose options can be given here.",
        )
    return parser


def _add_cassettes(commands: "argparse._SubParsersAction[_Parser]") -> None:
    group = commands.add_parser(
        "cassettes",
        help="list, verify and record what the platform's model has said",
        description="Cassettes are what mode GOLDEN replays: recorded answers of the platform's model, kept in git.",
        epilog=_CASSETTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = group.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
    reached = _Parser(add_help=False)
    where = reached.add_mutually_exclusive_group()
    where.add_argument("--url", metavar="URL", help="address of the proxy, for a platform on this machine")
    where.add_argument("-n", "--namespace", metavar="NS", help="default: the namespace of kubectl's context")
    reached.add_argument("--service", metavar="NAME", default=Way.service, help="of the proxy (default: %(default)s)")
    reached.add_argument(
        "--secret", metavar="NAME", default=Way.secret, help=f"where ADMIN_KEY is, without {ENV_KEY} (%(default)s)"
    )
    what.add_parser("list", parents=[reached], help="what the proxy has, what of it was never asked for")
    verify = what.add_parser("verify", parents=[reached], help="ask the upstream again, and tell what differs")
    verify.add_argument("cassette", metavar="NAME|FILE", help="a cassette of the proxy, or a file (*.jsonl)")
    record = what.add_parser(
        "record",
        parents=[reached],
        help="record what a command makes the platform ask for",
        usage="%(prog)s [-h] [--url URL | -n NS] [--service NAME] [--secret NAME] --file FILE NAME -- COMMAND...",
    )
    record.add_argument("cassette", metavar="NAME", help="of the cassette in the proxy")
    record.add_argument("--file", type=Path, required=True, metavar="FILE", help="what to write, whole or not at all")


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code: the entry point of `proctor` and `kubectl-proctor`."""
    parser = _parser()
    argv = sys.argv[1:] if argv is None else argv
    recorded: list[str] = []
    if argv[:1] == ["cassettes"] and "--" in argv:
        # What is recorded has options of its own, which argparse would take for ours.
        argv, recorded = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
    # The cluster's own parser reads what follows up, down and status, --help included.
    options, rest = parser.parse_known_args(argv)
    if rest and options.command not in _CLUSTER_COMMANDS:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if options.command == "cassettes" and (options.action == "record") != bool(recorded):
        parser.error("-- COMMAND... belongs to `cassettes record`, which needs it")
    try:
        return _dispatch(options, rest or recorded)
    except CommandError as error:
        print(f"proctor: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("\nproctor: interrupted", file=sys.stderr)
        return INTERRUPTED


def _dispatch(options: argparse.Namespace, rest: list[str]) -> int:
    match options.command:
        case "run":
            joined = run.live(options.suite, namespace=options.namespace) if options.join else None
            namespace, name = joined or run.create(
                options.suite, namespace=options.namespace, steps=options.step, mode=options.mode, seed=options.seed
            )
            print(f"testrun.proctor.dev/{name} {'goes on' if joined else 'created'} in {namespace}")
            if not options.wait:
                return 0
            return watch(name, namespace=namespace, timeout_seconds=options.timeout)
        case "watch":
            return watch(options.run, namespace=options.namespace, timeout_seconds=options.timeout)
        case "cassettes":
            way = Way(options.url, options.namespace, options.service, options.secret)
            match options.action:
                case "list":
                    return cassettes.listing(way)
                case "verify":
                    return cassettes.verify(way, options.cassette)
                case _:
                    return cassettes.record(way, options.cassette, options.file, rest)
        case "crds":
            root = checkout.find(Path.cwd())
            return checkout.write_crds(root) if options.write else checkout.check_crds(root)
        case _:
            return checkout.cluster(checkout.find(Path.cwd()), [options.command, *rest])


if __name__ == "__main__":
    sys.exit(main())
