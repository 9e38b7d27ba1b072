"""A Kubernetes API as far as Secrets go: HTTPS, bearer tokens, RBAC, resource versions, and faults on demand.

After the API conventions: errors are ``Status`` objects, a create that exists is 409 ``AlreadyExists``, a patch whose
``metadata.resourceVersion`` is not the stored one is 409 ``Conflict``, a media type that is no patch is 415.
"""

import json
import re
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from mailwarren.ingest.commands import cluster

NAMESPACE = "mail"
TOKEN = "a-service-account-token"
PATH = re.compile(r"/api/v1/namespaces/(?P<namespace>[^/]+)/secrets(?:/(?P<name>[^/]+))?")
REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "AlreadyExists", 415: "UnsupportedMediaType"}


class Kubernetes:
    """The server and what it holds."""

    def __init__(self, root: Path) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}
        self.verbs = {"get", "create", "patch"}
        self.faults: list[int | str] = []
        """What the next requests meet: a status, or ``hang up``."""
        self.asked: list[str] = []
        self.before_create: Any = None
        self._lock = threading.Lock()
        self._version = 100
        authority = trustme.CA()
        self.account = root / "account"
        self.account.mkdir()
        (self.account / "token").write_text(TOKEN + "\n")
        (self.account / "namespace").write_text(NAMESPACE)
        authority.cert_pem.write_to_path(str(self.account / "ca.crt"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def answer(self, method: str, path: str, headers: Any, body: Any) -> tuple[int, Any]:
        """What a request gets."""
        matched = PATH.fullmatch(path)
        verb = {"GET": "get", "POST": "create", "PATCH": "patch"}[method]
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, "Unauthorized"
        if matched is None:
            return 404, "the server could not find the requested resource"
        if verb not in self.verbs or matched["namespace"] != NAMESPACE:
            return 403, f'secrets is forbidden: User "setup" cannot {verb} resource "secrets"'
        if verb == "create" and self.before_create is not None:
            self.before_create()
        with self._lock:
            return self._do(verb, matched["name"], headers, body)

    def _do(self, verb: str, name: str | None, headers: Any, body: Any) -> tuple[int, Any]:
        if verb == "create":
            name = body["metadata"]["name"]
            if name in self.secrets:
                return 409, f'secrets "{name}" already exists'
            self.secrets[name] = body
        elif name not in self.secrets:
            return 404, f'secrets "{name}" not found'
        elif verb == "patch":
            if headers.get("Content-Type") != "application/merge-patch+json":
                return 415, "the body of the request was in an unknown format"
            stored = self.secrets[name]
            if body["metadata"].get("resourceVersion") not in (None, stored["metadata"]["resourceVersion"]):
                return 409, f'Operation cannot be fulfilled on secrets "{name}": the object has been modified'
            stored["data"] = stored.get("data", {}) | body["data"]
        if verb != "get":
            self._version += 1
            self.secrets[name]["metadata"]["resourceVersion"] = str(self._version)
        return 201 if verb == "create" else 200, self.secrets[name]


def _handler(kubernetes: Kubernetes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            kubernetes.asked.append(self.command)
            fault = kubernetes.faults.pop(0) if kubernetes.faults else None
            if fault == "hang up":
                self.connection.close()
                return
            if isinstance(fault, int):
                status, said = fault, "etcdserver: request timed out"
            else:
                status, said = kubernetes.answer(self.command, self.path, self.headers, body)
            if isinstance(said, str):
                reason = REASONS.get(status, "InternalError")
                said = {"kind": "Status", "status": "Failure", "message": said, "reason": reason, "code": status}
            payload = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_POST = do_PATCH = do_GET  # noqa: N815 - the base class's names

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubernetes]:
    """A cluster of which this process is a pod."""
    server = Kubernetes(tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    monkeypatch.setattr(cluster, "ACCOUNT", server.account)
    monkeypatch.setattr(cluster, "PAUSE", 0.05)
    yield server
    server.close()
