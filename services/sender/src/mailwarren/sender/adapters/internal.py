"""Ingest's internal HTTP, as senders ask it: one client for attachments and for keys."""

from types import TracebackType
from typing import Self

import httpx

CONNECTIONS = 16
DOWNLOADS = 8
"""Of these for attachments, at most: a large file may not keep the keys of other mail waiting."""
TIMEOUT = httpx.Timeout(15.0, connect=3.0)


class Internal:
    """The client.

    Args:
        url: ``http://host:port``; None where there is none.
        token: its bearer token.
    """

    def __init__(self, url: str | None, token: str | None) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    @property
    def trouble(self) -> str | None:
        """Why it cannot be asked at all."""
        return None if self._url else "MAILWARREN_INTERNAL_URL is not set"

    async def __aenter__(self) -> Self:
        self.client = httpx.AsyncClient(
            base_url=self._url or "",
            headers=self._headers,
            timeout=TIMEOUT,
            limits=httpx.Limits(max_connections=CONNECTIONS),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.client.aclose()
