"""`proctor cassettes`: what the proxy has recorded, whether the upstream would still say so, and new recordings.

A recording is made from nothing, so that an interaction which nobody asks for any more is gone from the file too.
"""

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from proctor.cli.errors import CommandError
from proctor.cli.proxy import Proxy, Way, opened

_PATIENCE_SECONDS = 5
"""How long an interrupted command may take to end in its own way."""


def listing(way: Way) -> int:
    """Print every cassette with its number of interactions, and the recording that is on. Returns 0."""
    with opened(way) as proxy:
        recording, cassettes = proxy.state()
        rows = [("NAME", "INTERACTIONS", "UNUSED")]
        rows += [(name, str(count), str(len(proxy.unused(name)))) for name, count in cassettes.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())
    print(f"{recording} is being recorded" if recording else "no recording is on")
    return 0


def verify(way: Way, what: str) -> int:
    """Have the upstream asked again for a cassette of the proxy, or for a file; print what differs and return 0 or 1.

    Raises CommandError if there is nothing to verify.
    """
    with opened(way) as proxy:
        if not what.endswith(".jsonl"):
            found = proxy.verify(what)
        else:
            content = _read(Path(what))
            name = f"verify-{hashlib.sha256(content).hexdigest()[:12]}"
            proxy.upload(name, content)
            try:
                found = proxy.verify(name)
            finally:
                proxy.remove(name)
    for one in found["different"]:
        print(f"{one['id']}: {one['where']} was {one['recorded']!r}, is {one['now']!r}")
    for one in found["failed"]:
        print(f"{one['id']}: the upstream has no answer: {one['error']}")
    same, different, failed = found["same"], len(found["different"]), len(found["failed"])
    if not same + different + failed:
        raise CommandError(f"{what} holds no interaction: nothing was verified")
    print(f"{what}: {same} the same, {different} different, {failed} without an answer")
    return 1 if different or failed else 0


def record(way: Way, name: str, file: Path, command: list[str]) -> int:
    """Record what `command` makes the platform ask for, into `file`; return the command's exit code.

    The file is written whole, and only if the command ended with 0 and something was recorded; else the proxy has its
    earlier cassette back. The recording is ended in every case. Raises CommandError when it cannot be begun, holds
    nothing, or could not be ended.
    """
    before = _interactions(_read(file)) if file.exists() else {}
    if not file.parent.is_dir():
        raise CommandError(f"{file.parent} is not a folder, so {file} cannot be written")
    if shutil.which(command[0]) is None:
        raise CommandError(f"{command[0]} is not a program in PATH: give the command to record after --")
    begun, ended, recorded = False, None, b""
    earlier: bytes | None = None
    try:
        with opened(way) as proxy:
            recording, cassettes = proxy.state()
            if recording:
                raise CommandError(
                    f"{recording} is being recorded already: wait for the end of that command. If it was killed, a "
                    "restart of the proxy ends its recording (kubectl rollout restart deployment/cassette)"
                )
            earlier = proxy.download(name) if name in cassettes else None
            proxy.record(name)
            begun = True
            proxy.upload(name, b"")
        ended = _run(command)
    finally:
        if begun:
            recorded = _close(way, name, earlier, keep=ended == 0)
    said = shlex.join(command)
    if ended != 0:
        print(f"`{said}` ended with {ended}: {file} is as it was")
        return ended
    if not recorded:
        raise CommandError(
            f"`{said}` asked for nothing that other cassettes do not have: {file} is as it was. "
            "Did it run in mode GOLDEN?"
        )
    _write(file, recorded)
    print(f"{file}: {_changes(before, _interactions(recorded))}")
    return 0


def _close(way: Way, name: str, earlier: bytes | None, *, keep: bool) -> bytes:
    """End the recording and return it; without `keep`, or if it is empty, the proxy has again what it had."""
    try:
        with opened(way) as proxy:
            proxy.stop_recording()
            recorded = proxy.download(name)
            if not (keep and recorded):
                _restore(proxy, name, earlier)
            return recorded
    except CommandError as error:
        raise CommandError(
            f"the recording of {name} may still be on, `proctor cassettes list` tells: {error}"
        ) from error


def _restore(proxy: Proxy, name: str, earlier: bytes | None) -> None:
    if earlier is None:
        proxy.remove(name)
    else:
        proxy.upload(name, earlier)


def _run(command: list[str]) -> int:
    """Run a command and return its exit code as a shell would. SIGTERM is taken like Ctrl-C: both end the command."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with subprocess.Popen(command) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            # A terminal sends its SIGINT to the command too, which first may end in its own way.
            for harder in (process.terminate, process.kill):
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_PATIENCE_SECONDS)
                harder()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
    return code if code >= 0 else 128 - code


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from error


def _write(file: Path, content: bytes) -> None:
    """Replace a file; a killed process leaves the old one or the new one."""
    temporary = file.with_name(f".{file.name}.tmp")
    with temporary.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)


def _interactions(content: bytes) -> dict[str, Any]:
    """Return the answers of a cassette by id."""
    try:
        return {one["id"]: one["response"] for one in map(json.loads, content.splitlines())}
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError("the file is no cassette: every line is one interaction in JSON") from error


def _changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    changed = sum(1 for key in before.keys() & now.keys() if before[key] != now[key])
    return (
        f"{len(now)} interactions, {len(now.keys() - before.keys())} new, {len(before.keys() - now.keys())} gone, "
        f"{changed} changed"
    )
