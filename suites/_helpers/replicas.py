"""The pods behind an endpoint, one by one: a Service hides which of them answers."""

import os
import socket
from urllib.parse import urlsplit


def replicas(name: str) -> list[str]:
    """Base URLs of the pods that a headless endpoint's name resolves to, sorted.

    The endpoint is PROCTOR_ENDPOINT_<NAME>_PODS; where there is no DNS of a cluster, further ones whose names begin so
    name one process each. Raises RuntimeError if there is none.
    """
    prefix = f"PROCTOR_ENDPOINT_{name.upper().replace('-', '_')}_PODS"
    found = set()
    for url in [urlsplit(value) for key, value in os.environ.items() if key.startswith(prefix)]:
        port = url.port or 80
        for *_, address in socket.getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM):
            host = f"[{address[0]}]" if ":" in str(address[0]) else str(address[0])
            found.add(f"{url.scheme}://{host}:{port}")
    if not found:
        raise RuntimeError(f"not set: {prefix} (see suites/README.md)")
    return sorted(found)
