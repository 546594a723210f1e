"""Cuts one TCP port of a pod's network, by a rule that the kernel lifts at its deadline with nothing of ours alive.

The port is an element with a timeout in an nftables set, and whatever comes from or goes to a port in the set is
dropped. Needs NET_ADMIN and nothing else. The table stays behind, inert, until `uncut` or the end of the pod.
"""

import hashlib
import json
import subprocess
from typing import Any

from proctor.api import names
from proctor.runner.chaos.account import Account, Refused, now

_PATIENCE = 10.0
_RULES = """\
create table inet {table}
table inet {table} {{
  set cut {{ type inet_service; flags timeout; timeout {milliseconds}ms; elements = {{ {port} }} }}
  chain incoming {{ type filter hook input priority raw; tcp dport @cut drop; tcp sport @cut drop; }}
  chain outgoing {{ type filter hook output priority raw; tcp dport @cut drop; tcp sport @cut drop; }}
}}
"""


def cut(account: Account, port: int, seconds: float) -> None:
    """Cut `port` for `seconds`, both ways. Raises Refused when it is too late or nft cannot do it."""
    table, milliseconds = table_of(account.deed.experiment), round(seconds * 1000)
    if table in _tables():
        raise Refused(names.ALREADY_INJECTED, f"table inet {table} exists: this fault was injected here before")
    account.injecting(deadline=now() + milliseconds)
    try:
        _nft("-f", "-", rules=_RULES.format(table=table, milliseconds=milliseconds, port=port))
    except Refused:
        if table not in _tables():
            account.tell(injected_at=None, deadline=None)
        raise
    account.tell(deadline=now() + milliseconds)  # The kernel began to count before it answered.


def uncut(account: Account) -> None:
    """Delete the table, if there is one, and tell how many ports were still cut. Raises Refused."""
    table, left = table_of(account.deed.experiment), 0
    if table in _tables():
        listed = _nft("-j", "list", "set", "inet", table, "cut")
        left = sum(len(one["set"].get("elem", ())) for one in listed if "set" in one)
        _nft("delete", "table", "inet", table)
    account.tell(healed_at=now(), left=left)


def table_of(experiment: str) -> str:
    """Return the name of an experiment's table."""
    return "proctor_" + hashlib.sha256(experiment.encode()).hexdigest()[:8]


def _tables() -> set[str]:
    return {one["table"]["name"] for one in _nft("-j", "list", "tables", "inet") if "table" in one}


def _nft(*arguments: str, rules: str = "") -> list[dict[str, Any]]:
    """Run nft, which changes all or nothing, and return what it lists."""
    try:
        done = subprocess.run(
            ["nft", *arguments],  # noqa: S607 - its place differs from image to image
            input=rules,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused(names.NFT_FAILED, f"nft cannot be run: {error}") from error
    if done.returncode != 0:
        told = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        denied = "not permitted" in told
        raise Refused(names.NOT_PERMITTED if denied else names.NFT_FAILED, f"nft {' '.join(arguments)}: {told}")
    listed: list[dict[str, Any]] = json.loads(done.stdout)["nftables"] if arguments[0] == "-j" else []
    return listed
