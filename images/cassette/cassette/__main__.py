"""Serve the proxy: `python -m cassette`, configured by CASSETTE_* variables."""

import logging
import signal
import sys

import uvicorn
from prometheus_client import start_http_server
from pydantic import ValidationError

from cassette import faults
from cassette.app import create_app
from cassette.settings import Settings


def main() -> None:
    """Serve until SIGTERM or SIGINT. Raises SystemExit that names what is missing or broken."""
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stdout, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    try:
        settings = Settings()
        app = create_app(settings)
    except ValidationError as error:
        wrong = [f"CASSETTE_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise SystemExit("configuration is incomplete; set these variables:\n  " + "\n  ".join(wrong)) from error
    except ValueError as error:
        raise SystemExit(f"{settings.folder} has a broken cassette: {error}") from error
    if settings.activations_port:
        start_http_server(settings.activations_port, "127.0.0.1", registry=faults.REGISTRY)
    # After its shutdown uvicorn raises the signal again: an orderly stop is exit code 0.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )


main()
