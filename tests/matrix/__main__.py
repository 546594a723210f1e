"""Plant each fault in turn, let the suites look, and print who caught what.

Needs a cluster with Proctor (`make matrix` brings it up). A fault counts as caught only by a test that fails with one
of the properties on the fault's card, and only if the fault was met. What was found is kept in build/matrix.json, so a
matrix that was interrupted goes on where it was; --again forgets it.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import cards
from matrix import planting, suite
from matrix.judge import Outcome, judge
from matrix.rounds import Round, only, rounds

State = dict[str, dict[str, Any]]


def main() -> int:
    """Run the rounds that are not done yet and print the table; 1 if any outcome is not what it should be."""
    parser = argparse.ArgumentParser(prog="matrix", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("suites", help="short names, comma separated: t01,t03")
    parser.add_argument("--healthy", type=int, default=1, metavar="N", help="healthy rounds first (default 1)")
    parser.add_argument("--full", action="store_true", help="every suite looks at every fault")
    parser.add_argument("--only", metavar="FAULT", help="this fault alone")
    parser.add_argument("--again", action="store_true", help="forget what an earlier matrix found")
    parser.add_argument("--seed", type=int, default=1, help="seed of the suites' choices (default 1)")
    options = parser.parse_args()
    chosen = options.suites.split(",")
    try:
        for name in chosen:
            suite.folder(name)
        plan = rounds(only(cards.load(), options.only), chosen, options.healthy, full=options.full)
    except ValueError as error:
        parser.error(str(error))
    if not plan:
        parser.error(f"no round: the card of {options.only} names other suites than {options.suites} (--full asks all)")
    path = planting.ROOT / "build" / "matrix.json"
    state: State = {} if options.again or not path.exists() else json.loads(path.read_text())
    try:
        for number, turn in enumerate(plan, 1):
            _turn(turn, options.seed + number, state, path, f"[{number}/{len(plan)}]")
    except KeyboardInterrupt:
        print(f"interrupted; what was found is in {path}", file=sys.stderr)
        return 130
    finally:
        if plan[-1].card:
            planting.plant(None)
    return _table(plan, state)


def _turn(turn: Round, seed: int, state: State, path: Path, where: str) -> None:
    waiting = [name for name in turn.suites if f"{turn.name}/{name}" not in state]
    if not waiting:
        return
    print(f"{where} {turn.name}: planting", flush=True)
    planting.plant(turn.card)
    for name in waiting:
        before = planting.activations(turn.card)
        began = time.monotonic()
        seen = suite.look(name, turn.card, seed)
        after = planting.activations(turn.card)
        met = None if after is None or before is None else after - before
        outcome, shown = judge(seen, turn.card.properties if turn.card else None, met)
        took = round(time.monotonic() - began)
        state[f"{turn.name}/{name}"] = {"outcome": outcome, "shown": shown, "seconds": took}
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(state, indent=1))
        print(f"{where} {turn.name} / {name}: {outcome} ({took} s) {shown}", flush=True)


def _table(plan: list[Round], state: State) -> int:
    bad = 0
    wide = max(len(turn.name) for turn in plan)
    for turn in plan:
        for name in turn.suites:
            found = state[f"{turn.name}/{name}"]
            bad += not Outcome(found["outcome"]).good
            outcome, seconds, shown = found["outcome"], f"{found['seconds']} s", found["shown"][:120]
            print(f"{turn.name:<{wide}}  {name:<11}  {outcome:<15}  {seconds:>6}  {shown}")
    print(f"{sum(len(turn.suites) for turn in plan)} outcomes, {bad} not as they should be")
    return 1 if bad else 0


sys.exit(main())
