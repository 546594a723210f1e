"""A small API server for one kind of object, with TLS and a token, on whose objects a test acts as the operator."""

import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from typing_extensions import override

TOKEN = "token-of-the-step"
Object = dict[str, Any]
Operator = Callable[[Object, int], Object | None]
"""What an object's status is at its n-th reading; None: as it was."""


@dataclass
class Api:
    """What was asked, and what is stored. `refuse` has (status, reason) for the next requests, by their method."""

    operator: Operator
    port: int = 0
    objects: dict[str, Object] = field(default_factory=dict)
    reads: dict[str, int] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    refuse: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Object]:
        self.requests.append((method, path))
        if self.refuse.get(method):
            status, reason = self.refuse[method].pop(0)
            if reason == "LostAnswer":  # it is done all the same
                self._done(method, path, body)
            return status, {"kind": "Status", "reason": reason, "message": f"no {method} today"}
        return self._done(method, path, body)

    def _done(self, method: str, path: str, body: Any) -> tuple[int, Object]:
        name = path.rsplit("/", 1)[1]
        if method == "POST":
            key = f"{path}/{body['metadata']['name']}"
            if key in self.objects:
                return 409, {"kind": "Status", "reason": "AlreadyExists", "message": "there is one"}
            self.objects[key] = body
            return 201, body
        found = self.objects.get(path)
        if found is None:
            return 404, {"kind": "Status", "reason": "NotFound", "message": f"{name} not found"}
        if method == "PATCH":
            found["spec"] |= body["spec"]
            return 200, found
        self.reads[path] = self.reads.get(path, 0) + 1
        found["status"] = self.operator(found, self.reads[path]) or found.get("status", {})
        return 200, found


@contextmanager
def api(root: Path, operator: Operator) -> Iterator[Api]:
    """Serve, with a certificate of its own and the credential of a pod whose files are below `root`."""
    mount = root / "var/run/secrets/kubernetes.io/serviceaccount"
    mount.mkdir(parents=True)
    (mount / "token").write_text(TOKEN + "\n")
    subject = ["-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1"]
    keys = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(mount / "key")]
    command = ["openssl", "req", "-x509", "-days", "1", *keys, "-out", str(mount / "ca.crt"), *subject]
    subprocess.run(command, check=True, capture_output=True)
    served = Api(operator)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                status, body = 401, {"kind": "Status", "reason": "Unauthorized", "message": "who are you?"}
            elif self.command == "PATCH" and self.headers["Content-Type"] != "application/merge-patch+json":
                status, body = 415, {"kind": "Status", "reason": "UnsupportedMediaType", "message": "no such patch"}
            else:
                status, body = served.answer(self.command, self.path, json.loads(data or b"null"))
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = do_DELETE = answer

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(mount / "ca.crt", mount / "key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        served.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield served
        finally:
            server.shutdown()
