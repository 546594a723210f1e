"""The door of an API server: TLS, the token of a pod, merge patches only. What is behind it is each test's own."""

import json
import ssl
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from typing_extensions import override

TOKEN = "token-of-the-step"
Answer = Callable[[str, str, Any], tuple[int, dict[str, Any]]]
"""From method, path and body to status and document."""


class ApiDoor:
    """Serves with a certificate of its own; the credential of a pod that may come in is below `root`."""

    def __init__(self, root: Path, answer: Answer) -> None:
        self.mount = root / "var/run/secrets/kubernetes.io/serviceaccount"
        self.mount.mkdir(parents=True)
        (self.mount / "token").write_text(TOKEN + "\n")
        (self.mount / "namespace").write_text("shop")
        subject = ["-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1"]
        keys = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            str(self.mount / "key"),
        ]
        command = ["openssl", "req", "-x509", "-days", "1", *keys, "-out", str(self.mount / "ca.crt"), *subject]
        subprocess.run(command, check=True, capture_output=True)
        self.port = 0
        """0 until the first start, then the same for ever."""
        self._handler = _handler(answer)
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.mount / "ca.crt", self.mount / "key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        self.port, self._server = server.server_port, server
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def _handler(answer: Answer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def serve(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = self.judge(data)
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def judge(self, data: bytes) -> tuple[int, dict[str, Any]]:
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                return 401, {"kind": "Status", "reason": "Unauthorized", "message": "who are you?"}
            if self.command == "PATCH" and self.headers["Content-Type"] != "application/merge-patch+json":
                return 415, {"kind": "Status", "reason": "UnsupportedMediaType", "message": "no such patch"}
            return answer(self.command, self.path, json.loads(data or b"null"))

        do_GET = do_POST = do_PATCH = do_DELETE = serve

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler
