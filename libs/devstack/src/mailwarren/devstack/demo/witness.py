"""The sink over its HTTP side: what it plays, and what arrived there."""

import asyncio
import time
from typing import Any, Self

import httpx
import msgspec

from mailwarren.devstack.demo.ledger import Copies
from mailwarren.devstack.errors import DevstackError

_TIMEOUT = 30.0
_POLL = 0.1


class _Pair(msgspec.Struct, array_like=True):
    message_id: str
    address: str
    answered: int
    unanswered: int


class Witness:
    """The sink that the mail ends in. Use as an async context manager.

    Args:
        sink_url: of its HTTP side.
    """

    def __init__(self, sink_url: str) -> None:
        self._http = httpx.AsyncClient(base_url=sink_url, timeout=_TIMEOUT)
        self._pair = msgspec.json.Decoder(_Pair)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def script(self) -> Any:
        """What it plays now.

        Raises:
            DevstackError: it does not answer.
        """
        return (await self._request("GET", "/script")).json()

    async def play(self, script: Any) -> None:
        """Play this from now on.

        Raises:
            DevstackError: it does not answer, or refuses the script.
        """
        await self._request("POST", "/script", json=script)

    async def pairs(self) -> list[Copies]:
        """Every (Message-ID, recipient) that ever arrived, the Message-ID without its brackets.

        Raises:
            DevstackError: it does not answer, or with something else.
        """
        answer = await self._request("GET", "/pairs")
        try:
            pairs = [self._pair.decode(line) for line in answer.content.splitlines() if line]
        except msgspec.DecodeError as error:
            raise DevstackError(f"The sink's answer to GET /pairs cannot be read: {error}") from error
        return [Copies(one.message_id.strip("<>"), one.address, one.answered, one.unanswered) for one in pairs]

    async def arrives(self, address: str, since: float, patience: float) -> bool:
        """Whether a mail to ``address`` arrives after Unix time ``since``, within ``patience`` seconds."""
        deadline = time.monotonic() + patience
        while True:
            answer = await self._request("GET", "/messages", params={"to": address, "limit": "1"})
            if any(mail["received_at"] >= since for mail in answer.json()):
                return True
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_POLL)

    async def _request(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = await self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            words = str(error) or type(error).__name__
            raise DevstackError(f"The sink at {self._http.base_url} cannot be reached: {words}.") from error
        if answer.is_error:
            raise DevstackError(f"The sink answers {answer.status_code} to {method} {path}: {answer.text[:300]}")
        return answer
