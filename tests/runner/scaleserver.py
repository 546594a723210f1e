"""The scale subresource of an API server, over TLS: versions, merge patches, and an end and a return at any time."""

import json
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override


class ScaleServer:
    """One workload's scale. `history` has every number of replicas that it was set to."""

    TOKEN = "s3cret"
    PATH = "/apis/apps/v1/namespaces/shop/deployments/dlq/scale"

    def __init__(self, root: Path, replicas: int) -> None:
        self._folder = root / "var/run/secrets/kubernetes.io/serviceaccount"
        self._folder.mkdir(parents=True)
        self._key = root / "tls.key"
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=127.0.0.1"
        files = ["-keyout", str(self._key), "-out", str(self._folder / "ca.crt")]
        address = ["-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run([*command.split(), *files, *address], check=True, capture_output=True)
        (self._folder / "token").write_text(self.TOKEN + "\n")
        (self._folder / "namespace").write_text("shop")
        self.replicas = replicas
        self.version = 7
        self.history: list[int] = []
        self.refuse: tuple[str, int] | None = None
        """A method, and the status with which it is refused."""
        self.before_patch: Any = None
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def env(self) -> dict[str, str]:
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.port)}

    def start(self) -> None:
        server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / "ca.crt", self._key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        self.port, self._server = server.server_port, server
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def scale(self, replicas: int) -> None:
        self.replicas, self.version = replicas, self.version + 1
        self.history.append(replicas)

    def document(self) -> dict[str, Any]:
        spec = {"replicas": self.replicas} if self.replicas else {}  # As the real one: zero is left out.
        return {"kind": "Scale", "metadata": {"name": "dlq", "resourceVersion": str(self.version)}, "spec": spec}

    def answer(self, method: str, path: str, token: str, kind: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Return status and document for one request."""
        if token != f"Bearer {self.TOKEN}":
            return 401, {"reason": "Unauthorized", "message": "Unauthorized"}
        if path != self.PATH:
            return 404, {"reason": "NotFound", "message": f"{path} not found"}
        if self.refuse and self.refuse[0] == method:
            return self.refuse[1], {"reason": "Refused", "message": f"cannot {method} resource deployments/scale"}
        if method == "PATCH":
            if kind != "application/merge-patch+json":
                return 415, {"reason": "UnsupportedMediaType", "message": kind}
            if self.before_patch:
                self.before_patch(self)
            patch = json.loads(body)
            if patch["metadata"]["resourceVersion"] != str(self.version):
                return 409, {"reason": "Conflict", "message": "the object has been modified"}
            self.scale(patch["spec"]["replicas"])
        return 200, self.document()


def _handler(server: ScaleServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        scale: ClassVar[ScaleServer] = server

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, document = self.scale.answer(
                self.command,
                self.path,
                self.headers.get("Authorization", ""),
                self.headers.get("Content-Type", ""),
                body,
            )
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = _serve
        do_PATCH = _serve

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler
