"""DKIM keys of test domains, who hands them out, and two verifiers that know nothing of ours: dkimpy and OpenDKIM."""

import base64
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from mailwarren.contracts.dkim import RSA, SigningKey, SigningKeys, encode_keys

BITS = 2048


@dataclass(frozen=True)
class KeyPair:
    """A key with what stands in DNS for it."""

    key: SigningKey
    record: str


def make_pair(selector: str, algorithm: str = RSA, bits: int = BITS) -> KeyPair:
    """A new key."""
    if algorithm == RSA:
        rsa = generate_private_key(65537, bits)
        private = rsa.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        public = rsa.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        kind = "rsa"
    else:
        edwards = Ed25519PrivateKey.generate()
        private = edwards.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        public = edwards.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        kind = "ed25519"
    record = f"v=DKIM1; k={kind}; p={base64.b64encode(public).decode()}"
    return KeyPair(SigningKey(selector, algorithm, private), record)


def zone(domain: str, *pairs: KeyPair) -> dict[str, str]:
    """The TXT records of a domain's keys, by name."""
    return {f"{pair.key.selector}._domainkey.{domain}": pair.record for pair in pairs}


class KeyServer:
    """Hands out keys as ingest's internal HTTP does. It can go away and come back under the same address.

    Args:
        port: of loopback.
        token: that callers have.
        keys: by domain.

    Attributes:
        asked: domains that were asked for.
    """

    def __init__(self, port: int, token: str, keys: Mapping[str, tuple[SigningKey, ...]]) -> None:
        self.asked: list[str] = []
        self._port = port
        self._token = token
        self._keys = keys
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """What ``MAILWARREN_INTERNAL_URL`` says."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Answer from now on."""
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, body = answer(self.path, self.headers.get("Authorization", ""))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Be away."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _answer(self, path: str, authorization: str) -> tuple[HTTPStatus, bytes]:
        if authorization != f"Bearer {self._token}":
            return HTTPStatus.UNAUTHORIZED, b""
        domain = unquote(urlsplit(path).path.rpartition("/")[2])
        self.asked.append(domain)
        keys = self._keys.get(domain)
        if keys is None:
            return HTTPStatus.NOT_FOUND, b""
        return HTTPStatus.OK, encode_keys(SigningKeys(domain, keys, time.time() + 300))


def dkimpy_says(mail: bytes, records: Mapping[str, str]) -> list[bool]:
    """Whether each signature of ``mail`` verifies, the topmost first."""
    import dkim  # of the development group alone

    def look_up(name: bytes | str, timeout: int = 0) -> bytes | None:  # noqa: ARG001 - the library's
        text = name.decode() if isinstance(name, bytes) else name
        found = records.get(text.rstrip("."))
        return None if found is None else found.encode()

    def verifies(index: int) -> bool:
        try:
            return bool(dkim.DKIM(mail).verify(idx=index, dnsfunc=look_up))
        except dkim.DKIMException:
            return False

    head = mail.partition(b"\r\n\r\n")[0].lower()
    return [verifies(index) for index in range((b"\r\n" + head).count(b"\r\ndkim-signature:"))]


def opendkim_says(mail: bytes, records: Mapping[str, str]) -> bool:
    """Whether OpenDKIM takes ``mail`` as signed by its domain.

    Raises:
        RuntimeError: it says neither yes nor no.
    """
    program = shutil.which("opendkim", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        raise RuntimeError("opendkim is not installed: bin/bootstrap --with-opendkim installs it, or says how")
    with tempfile.TemporaryDirectory(prefix="mailwarren-opendkim-") as made:
        folder = Path(made)
        (folder / "keys").write_text("".join(f"{name} {record}\n" for name, record in records.items()))
        (folder / "conf").write_text(f"Mode v\nSocket local:{folder}/socket\nTestPublicKeys {folder}/keys\n")
        (folder / "mail").write_bytes(mail)
        done = subprocess.run(
            [program, "-x", str(folder / "conf"), "-t", str(folder / "mail")],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    said = f"{done.stdout}{done.stderr}"
    good, bad = "succeeded" in said, "failed" in said
    if good == bad:
        raise RuntimeError(f"opendkim ended with {done.returncode}: {said}")
    return good


def as_received(wire: bytes) -> bytes:
    """The mail that a server makes of message data: without the end of data and the stuffed dots (RFC 5321 §4.5.2)."""
    lines = wire.split(b"\r\n")
    if lines[-2:] != [b".", b""]:
        raise ValueError("no end of data")
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines[:-2]) + b"\r\n"
