"""The growth of counters, from processes that tell them over HTTP."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from suites._helpers.metrics import Counters, Restarted
from typing_extensions import override

TOLD = """\
# TYPE asked_total counter
process_start_time_seconds {started}
asked_total{{route="/route",status="200"}} {good}
asked_total{{route="/route",status="422"}} 1.0
asked_created{{route="/route",status="200"}} 1.7e+09
"""


class Process(ThreadingHTTPServer):
    """Tells what its attributes say."""

    started, good, status = 5.0, 10.0, 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def process() -> Iterator[Process]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(running.status)
            self.end_headers()
            self.wfile.write(TOLD.format(started=running.started, good=running.good).encode())

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with Process(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def test_growth_is_that_of_all_processes_and_of_the_named_series() -> None:
    with process() as one, process() as two:
        counters = Counters([one.url, two.url])
        one.good, two.good = 13, 12
        assert counters.growth("asked_total", route="/route") == 5
        assert counters.growth("asked_total", status="422") == 0
        assert counters.growth("asked_total", status="500") == 0


def test_a_process_that_began_anew_tells_nothing_of_before() -> None:
    with process() as one:
        counters = Counters([one.url])
        one.started, one.good = 6, 11
        with pytest.raises(Restarted, match="began anew"):
            counters.growth("asked_total")


def test_a_process_that_tells_nothing_is_an_error() -> None:
    with process() as one:
        counters = Counters([one.url])
        one.status = 501
        with pytest.raises(RuntimeError, match="gave 501, expected 200"):
            counters.growth("asked_total")
