"""Secrets of the namespace that this pod runs in, through the Kubernetes API.

What it takes: a service account whose token is mounted, with ``get`` and ``patch`` on the Secret and ``create`` on
secrets.
"""

import base64
import binascii
import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from mailwarren.ingest.commands import Failed

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT = 10.0
PAUSE = 1.0
_AGAIN = frozenset({429, 500, 502, 503, 504})
_LABELS = {"app.kubernetes.io/name": "mailwarren", "app.kubernetes.io/managed-by": "mailwarren-setup"}


class Conflict(Exception):
    """Somebody else was faster: read again."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A Secret as it is stored."""

    version: str
    data: Mapping[str, str]


class Secrets:
    """The Secrets of one namespace.

    Args:
        base: ``https://host:port`` of the API.
        account: folder with ``token``, ``ca.crt`` and ``namespace``, as Kubernetes mounts it.
        wait: seconds for which an API that does not answer is asked again.
    """

    def __init__(self, base: str, account: Path, wait: float) -> None:
        self._account = account
        self._deadline = time.monotonic() + wait
        try:
            self.namespace = (account / "namespace").read_text().strip()
            context = ssl.create_default_context(cafile=str(account / "ca.crt"))
            self._token()
        except (OSError, ssl.SSLError) as error:
            raise Failed(
                f"the service account at {account} cannot be read ({error}): the pod needs automountServiceAccountToken"
            ) from error
        self._client = httpx.Client(base_url=base, verify=context, timeout=TIMEOUT, trust_env=False)

    @classmethod
    def of_this_pod(cls, wait: float, account: Path | None = None) -> "Secrets":
        """Those that this pod's service account sees.

        Raises:
            Failed: this is no pod, or one without a service account.
        """
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise Failed("--owner-secret works inside a Kubernetes cluster: KUBERNETES_SERVICE_HOST is not set")
        return cls(f"https://{f'[{host}]' if ':' in host else host}:{port}", account or ACCOUNT, wait)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def read(self, name: str) -> Secret | None:
        """A Secret, None when there is none.

        Raises:
            Failed: it cannot be read; the text says why.
        """
        answer = self._ask("get", f"{self._path}/{name}", name, none_is_fine=True)
        return None if answer is None else _secret(answer, name)

    def create(self, name: str, values: Mapping[str, str]) -> None:
        """Make a Secret.

        Raises:
            Conflict: it exists by now.
            Failed: as :meth:`read`.
        """
        metadata = {"name": name, "namespace": self.namespace, "labels": _LABELS}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": _encoded(values)}
        self._ask("create", self._path, name, "POST", body)

    def add(self, name: str, values: Mapping[str, str], version: str) -> None:
        """Put values into a Secret that has not changed since it was read.

        Raises:
            Conflict: it has.
            Failed: as :meth:`read`.
        """
        body = {"metadata": {"resourceVersion": version}, "data": _encoded(values)}
        self._ask("patch", f"{self._path}/{name}", name, "PATCH", body)

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/secrets"

    def _token(self) -> str:
        # Read each time: Kubernetes renews it.
        return (self._account / "token").read_text().strip()

    def _ask(
        self, verb: str, path: str, name: str, method: str = "GET", body: Any = None, *, none_is_fine: bool = False
    ) -> dict[str, Any] | None:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        while True:
            headers = {"Authorization": f"Bearer {self._token()}", "Content-Type": kind, "Accept": "application/json"}
            try:
                answer = self._client.request(method, path, json=body, headers=headers)
            except httpx.HTTPError as error:
                problem = f"the Kubernetes API at {self._client.base_url} does not answer: {_words(error)}"
            else:
                status = answer.status_code
                if status == httpx.codes.NOT_FOUND and none_is_fine:
                    return None
                if status == httpx.codes.CONFLICT:
                    raise Conflict(name)
                if answer.is_success:
                    return _object(answer, name)
                problem = f"{self._said(verb, name, status)}: {_message(answer)}"
                if status not in _AGAIN:
                    raise Failed(problem)
            if time.monotonic() + PAUSE > self._deadline:
                raise Failed(problem)
            time.sleep(PAUSE)

    def _said(self, verb: str, name: str, status: int) -> str:
        where = f"Secret {name} in namespace {self.namespace}"
        if status == httpx.codes.UNAUTHORIZED:
            return f"the Kubernetes API does not accept this pod's service account token ({status})"
        if status == httpx.codes.FORBIDDEN:
            return f"the service account may not {verb} {where} ({status}); its Role needs get, create and patch"
        if status == httpx.codes.NOT_FOUND:
            return f"the Kubernetes API did not find what {verb} {where} needs ({status})"
        return f"the Kubernetes API could not {verb} {where} ({status})"


def claim(secrets: Secrets, name: str, key: str, make: Callable[[], str], others: Mapping[str, str]) -> tuple[str, str]:
    """The value of a key in a Secret; made when there is none, so that all who ask at once get the same.

    Args:
        secrets: of the namespace.
        name: of the Secret.
        key: whose value is wanted.
        make: a new value.
        others: keys that stand beside it; they are brought up to date.

    Returns:
        The value, and what was done: ``created``, ``completed`` or ``found``.

    Raises:
        Failed: the Kubernetes API refuses, or does not answer.
    """
    while True:
        try:
            found = secrets.read(name)
            if found is None:
                value = make()
                secrets.create(name, {key: value, **others})
                return value, "created"
            value = found.data.get(key) or make()
            wanted = {key: value, **others}
            if all(found.data.get(one) == told for one, told in wanted.items()):
                return value, "found"
            secrets.add(name, wanted, found.version)
        except Conflict:
            continue
        return value, "completed"


def _secret(answer: dict[str, Any], name: str) -> Secret:
    try:
        data = {
            one: base64.b64decode(value, validate=True).decode() for one, value in (answer.get("data") or {}).items()
        }
        return Secret(str(answer["metadata"]["resourceVersion"]), data)
    except (KeyError, TypeError, binascii.Error, UnicodeDecodeError) as error:
        raise Failed(f"Secret {name} is not one that can be used: {type(error).__name__}") from error


def _object(answer: httpx.Response, name: str) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError as error:
        raise Failed(f"the Kubernetes API answered for Secret {name} with something that is not JSON") from error
    return dict(found)


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase


def _encoded(values: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


def _words(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__
