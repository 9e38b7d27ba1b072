"""The few calls that are made outside of Locust: is it there, does mail end at the sink, what became of each mail."""

import time
from collections.abc import Container, Iterator
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import httpx
import msgspec

from mailwarren.load import RUN, SENDER_DOMAIN

PAGE = 100
PROBE_PATIENCE = 20.0
_AGAIN = frozenset({429, 502, 503, 504})
_NO_KEY = frozenset({401, 403})


class NotRun(Exception):
    """The run cannot begin, or its account cannot be made; the text is for a person."""


class Listed(msgspec.Struct):
    """An email in the API's list."""

    id: UUID
    message_id: str
    to: list[str]
    created_at: datetime
    last_event: str
    metadata: dict[str, str]


class _Page(msgspec.Struct):
    has_more: bool
    data: list[Listed]


class Api:
    """The API of one key. Use as a context manager.

    Args:
        url: ends in ``/v1``.
        key: may send and read.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def wait_ready(self, patience: float) -> None:
        """Return when it answers and knows the key.

        Raises:
            NotRun: it did not within ``patience`` seconds, or refuses the key.
        """
        deadline = time.monotonic() + patience
        while True:
            trouble = self._trouble()
            if not trouble:
                return
            if time.monotonic() > deadline:
                raise NotRun(trouble)
            time.sleep(1)

    def _trouble(self) -> str:
        try:
            answer = self._http.get("/emails", params={"limit": 1})
        except httpx.HTTPError as error:
            return f"The API at {self._url} cannot be reached: {error or type(error).__name__}"
        if answer.status_code in _NO_KEY:
            raise NotRun(f"The API at {self._url} refuses the key: {answer.text[:200]}")
        return f"The API at {self._url} answers {answer.status_code}: {answer.text[:200]}" if answer.is_error else ""

    def probe(self, run: str, sink_url: str) -> None:
        """Send one mail to a reserved domain and return when the sink has it.

        Raises:
            NotRun: it did not arrive: real recipients might get this system's mail.
        """
        to = f"first-{run}@{SENDER_DOMAIN}"
        mail = {"from": f"Load Test <first@{SENDER_DOMAIN}>", "to": to, "subject": "First", "text": "First.\n"}
        answer = self._http.post("/emails", json=mail | {"priority": "high", "metadata": {RUN: f"{run}-first"}})
        if answer.is_error:
            raise NotRun(f"The API at {self._url} took no first mail: {answer.text[:200]}")
        deadline = time.monotonic() + PROBE_PATIENCE
        while not self._arrived(sink_url, to):
            if time.monotonic() > deadline:
                raise NotRun(
                    f"The first mail did not reach the sink at {sink_url} within {PROBE_PATIENCE:.0f} s, so its "
                    "mail may go to real people. Nothing else was sent. Is the sink its relay, and do senders run?"
                )
            time.sleep(0.2)

    @staticmethod
    def _arrived(sink_url: str, to: str) -> bool:
        try:
            found: Any = httpx.get(f"{sink_url}/messages", params={"to": to, "limit": 1}, timeout=10).raise_for_status()
        except httpx.HTTPError as error:
            raise NotRun(f"The sink at {sink_url} cannot be asked: {error}") from error
        return bool(found.json())

    def emails(self, run: str, since: datetime, ids: Container[UUID] = frozenset()) -> Iterator[Listed]:
        """Every email of a run, newest first.

        Args:
            run: its name in the emails' metadata.
            since: when it began.
            ids: those that are the run's too: mail of broadcasts has no metadata.

        Raises:
            NotRun: the API stopped answering.
        """
        query: dict[str, Any] = {"limit": PAGE}
        while True:
            page = self._page(query)
            yield from (one for one in page.data if one.metadata.get(RUN) == run or one.id in ids)
            if not page.has_more or page.data[-1].created_at < since:
                return
            query["after"] = str(page.data[-1].id)

    def _page(self, query: dict[str, Any]) -> _Page:
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = self._http.get("/emails", params=query)
                if answer.status_code not in _AGAIN:
                    return msgspec.json.decode(answer.raise_for_status().content, type=_Page)
                trouble = f"status {answer.status_code}"
            except (httpx.HTTPError, msgspec.DecodeError) as error:
                trouble = str(error) or type(error).__name__
            if time.monotonic() > deadline:
                raise NotRun(f"The API at {self._url} does not list its emails: {trouble}")
            time.sleep(1)
