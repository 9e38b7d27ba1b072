"""The API as commands call it."""

from pathlib import Path
from typing import IO, Any

import httpx

from mailwarren.ingest.commands import Failed

TIMEOUT = 30.0


class Api:
    """Calls with a key.

    Args:
        url: of the API, ending in ``/v1``.
        key: an API key.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"}

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """Read.

        Raises:
            Failed: the API cannot be reached, or said no.
        """
        return self.call("GET", path, query=query)

    def post(self, path: str, body: Any, **query: Any) -> dict[str, Any]:
        """Do.

        Raises:
            Failed: as :meth:`get`.
        """
        return self.call("POST", path, body, query=query)

    def delete(self, path: str) -> dict[str, Any]:
        """Take away.

        Raises:
            Failed: as :meth:`get`.
        """
        return self.call("DELETE", path)

    def upload(self, path: str, file: bytes | IO[bytes], **query: Any) -> dict[str, Any]:
        """Send a CSV file as it is, from where it lies.

        Raises:
            Failed: as :meth:`get`.
        """
        headers = self._headers | {"Content-Type": "text/csv"}
        return self._said("POST", path, content=file, params=_given(query), headers=headers)

    def save(self, path: str, target: Path) -> None:
        """Put what stands at a path into a file.

        Raises:
            Failed: as :meth:`get`, or the file cannot be written.
        """
        try:
            with (
                httpx.stream("GET", f"{self._url}{path}", headers=self._headers, timeout=TIMEOUT) as answer,
                target.open("wb") as file,
            ):
                answer.raise_for_status()
                for block in answer.iter_bytes():
                    file.write(block)
        except httpx.HTTPError as error:
            raise Failed(f"{self._url}{path}: {error or type(error).__name__}") from error
        except OSError as error:
            raise Failed(f"{target}: {error.strerror or error}") from error

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Any call.

        Raises:
            Failed: as :meth:`get`.
        """
        return self._said(method, path, params=_given(query or {}), json=body, headers=self._headers | (headers or {}))

    def _said(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            answer = httpx.request(method, f"{self._url}{path}", timeout=TIMEOUT, **options)
            said = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Failed(f"no API at {self._url}: {error or type(error).__name__}") from error
        if answer.is_error:
            raise Failed(f"{answer.status_code} {said.get('name')}: {said.get('message')}")
        return dict(said)


def _given(query: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}
