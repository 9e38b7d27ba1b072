"""The API as an application calls it: with an Idempotency-Key, repeated until there is an answer.

A call whose answer is 503, 429, 5xx or missing is repeated with the same key and the same bytes, which can never make
a second mail. An answer that reports errors for some rows is asked for once more as well: a final one comes back
marked as replayed, otherwise the API has by then tried those rows again.
"""

import asyncio
import time
from random import Random
from typing import Any, NamedTuple, Self

import httpx
import msgspec

from mailwarren.devstack.errors import DevstackError

PATIENCE = 60.0
"""Seconds from a call's first try to its last."""
FIRST_WAIT = 0.2
LAST_WAIT = 5.0
IN_FLIGHT = 64
"""Connections to the API at most."""

_UNAVAILABLE = 503
_AGAIN = frozenset({429, 500, 502, _UNAVAILABLE, 504})
_NO_KEY = frozenset({401, 403})
_CONFLICT = 409


class NoAnswer(Exception):
    """The patience is over: what was asked may have been done or not. The text says what the last try gave."""


class Answer(NamedTuple):
    """An answer that is no reason to repeat the call. ``replayed``: the API had given it before."""

    status: int
    body: bytes
    replayed: bool = False

    @property
    def message(self) -> str:
        """The ``message`` of an error body, or what there is instead."""
        try:
            found = msgspec.json.decode(self.body, type=_ErrorBody)
        except msgspec.DecodeError:
            return f"status {self.status}: {self.body[:200].decode('utf-8', 'replace')}"
        return found.message


class _ErrorBody(msgspec.Struct):
    message: str
    name: str = ""


class ApiClient:
    """Calls of one API key. Use as an async context manager.

    Args:
        api_url: ends in ``/v1``.
        api_key: of a key that may send.
        patience: seconds for which a call is repeated.
        rng: for the waits between repeats.
    """

    def __init__(self, api_url: str, api_key: str, *, patience: float = PATIENCE, rng: Random | None = None) -> None:
        self._url = api_url
        self._patience = patience
        self._rng = rng or Random()
        self.repeats = 0
        """Calls that had to be made again, for the report."""
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"},
            limits=httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT),
            timeout=httpx.Timeout(30.0, connect=5.0),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def check(self) -> None:
        """Return when the API answers and knows the key.

        Raises:
            DevstackError: it does not.
        """
        try:
            answer = await self._http.get(f"{self._url}/emails", params={"limit": 1})
        except httpx.HTTPError as error:
            raise DevstackError(f"The API at {self._url} cannot be reached: {_words(error)}.") from error
        if answer.status_code in _NO_KEY:
            raise _key_refused(self._url, Answer(answer.status_code, answer.content))
        if answer.is_error:
            raise DevstackError(f"The API at {self._url} answers {answer.status_code}: {answer.text[:200]}")

    async def post(self, path: str, body: Any, key: str, headers: dict[str, str] | None = None) -> Answer:
        """One keyed call, as often as it takes.

        Args:
            path: below ``/v1``.
            body: encoded once; every repeat has the same bytes.
            key: the Idempotency-Key.
            headers: more of them.

        Raises:
            NoAnswer: only refusals to answer until the patience was over.
            DevstackError: the API does not know the key.
        """
        content = msgspec.json.encode(body)
        deadline = time.monotonic() + self._patience
        wait = FIRST_WAIT
        while True:
            answer, trouble, least = await self._try(path, content, {**(headers or {}), "Idempotency-Key": key})
            if answer is not None:
                return answer
            # Full jitter: calls that failed together do not come back together.
            pause = max(least, wait * self._rng.random())
            if time.monotonic() + pause > deadline:
                raise NoAnswer(trouble)
            self.repeats += 1
            await asyncio.sleep(pause)
            wait = min(wait * 2, LAST_WAIT)

    async def _try(self, path: str, content: bytes, headers: dict[str, str]) -> tuple[Answer | None, str, float]:
        """An answer; or None, why there is none, and the seconds that the API asked to wait."""
        try:
            response = await self._http.post(f"{self._url}{path}", content=content, headers=headers)
        except httpx.HTTPError as error:
            return None, f"no answer from the API: {_words(error)}", 0.0
        answer = Answer(response.status_code, response.content, response.headers.get("idempotent-replayed") == "true")
        if answer.status in _NO_KEY:
            raise _key_refused(self._url, answer)
        # 409 with Retry-After: an earlier try of this very call is still being worked on.
        in_flight = answer.status == _CONFLICT and "retry-after" in response.headers
        if answer.status in _AGAIN or in_flight:
            return None, f"the API answered {answer.status}: {answer.message}", _seconds(response)
        return answer, "", 0.0


def _seconds(response: httpx.Response) -> float:
    asked = response.headers.get("retry-after", "")
    return min(float(asked), LAST_WAIT) if asked.isascii() and asked.isdecimal() else 0.0


def _key_refused(url: str, answer: Answer) -> DevstackError:
    return DevstackError(f"The API at {url} refuses the key in MAILWARREN_API_KEY: {answer.message}")


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
