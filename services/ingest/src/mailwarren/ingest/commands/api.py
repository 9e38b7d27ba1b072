"""The API as commands call it."""

from typing import Any

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
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            answer = httpx.request(
                method,
                f"{self._url}{path}",
                params=asked,
                json=body,
                headers=self._headers | (headers or {}),
                timeout=TIMEOUT,
            )
            said = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Failed(f"no API at {self._url}: {error or type(error).__name__}") from error
        if answer.is_error:
            raise Failed(f"{answer.status_code} {said.get('name')}: {said.get('message')}")
        return dict(said)
