"""The users that ask what became of mails."""

import time
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import gevent
import msgspec
from locust import between, task
from locust.exception import StopUser

from mailwarren.load.plan import WEIGHTS
from mailwarren.load.timeline import journey
from mailwarren.load.verdict import message_of, pressure
from scenarios.posting import ApiUser
from scenarios.session import session

LAG = "lag"
"""Request type of reads of a mail that is not recorded yet: the tracker is behind, which is no wrong answer."""
PAGES = 3
PAGE = 20
WATCH = 60.0
"""Seconds after which a mail is watched no longer; the account sees what becomes of it."""
_NOT_FOUND = 404
_OK = 200


class Reader(ApiUser):
    """A user that reads."""

    abstract = True

    def read(self, path: str, name: str, shape: type) -> Any:
        """One GET; its answer as ``shape``, None when there is none yet."""
        if session.ending:
            raise StopUser
        with self.client.get(path, name=name, catch_response=True) as response:
            found = {field.lower(): value for field, value in (response.headers or {}).items()}
            body = response.content or b""
            if again := pressure(response.status_code, found):
                self.pressed(response, again, name)
                gevent.sleep(again.wait)
            elif response.status_code == _NOT_FOUND:
                response.request_meta |= {"request_type": LAG, "name": f"not recorded yet: {name}"}
                response.success()
            elif response.status_code != _OK:
                response.failure(f"status {response.status_code}: {message_of(body)}")
            else:
                try:
                    return msgspec.json.decode(body, type=shape)
                except msgspec.DecodeError as error:
                    response.failure(f"a {_OK} that cannot be read: {error}")
        return None


class _Short(msgspec.Struct):
    id: UUID
    last_event: str


class _Page(msgspec.Struct):
    has_more: bool
    data: list[_Short]


class _Entry(msgspec.Struct):
    kind: str
    at: str


class _Timeline(msgspec.Struct):
    id: UUID
    data: list[_Entry]


class StatusReader(Reader):
    """A person or a program that looks at mails: one, its timeline, and pages of the list."""

    weight = WEIGHTS["StatusReader"]
    wait_time = between(0.5, 1.5)

    @task(5)
    def email(self) -> None:
        """One that was posted some seconds ago."""
        if ident := session.some_email(at_least=3):
            found = self.read(f"/emails/{ident}", "/v1/emails/{id}", _Short)
            self._same(found, ident, "/v1/emails/{id}")

    @task(2)
    def timeline(self) -> None:
        """Every attempt of it."""
        if ident := session.some_email(at_least=3):
            found = self.read(f"/emails/{ident}/timeline", "/v1/emails/{id}/timeline", _Timeline)
            self._same(found, ident, "/v1/emails/{id}/timeline")

    @task(3)
    def pages(self) -> None:
        """The newest mails, some pages deep by cursor: no mail twice, however many come meanwhile."""
        seen: set[UUID] = set()
        query: dict[str, object] = {"limit": PAGE}
        for _ in range(PAGES):
            page = self.read(f"/emails?{urlencode(query)}", "/v1/emails?limit&after", _Page)
            if page is None or not page.data:
                return
            ids = {one.id for one in page.data}
            if seen & ids or len(ids) < len(page.data):
                self._wrong("/v1/emails?limit&after", "a mail is on two pages")
            seen |= ids
            if not page.has_more:
                return
            query["after"] = page.data[-1].id

    def _same(self, found: Any, ident: UUID, name: str) -> None:
        if found is not None and found.id != ident:
            self._wrong(name, "the answer is about another mail")

    def _wrong(self, name: str, reason: str) -> None:
        self.environment.events.request.fire(
            request_type="check",
            name=name,
            response_time=0,
            response_length=0,
            exception=ValueError(reason),
            context={},
        )


class DeliveryWatcher(Reader):
    """Measures what people wait for: a mail's way from the API's yes to the receiver's, by the mail's own timeline.

    The two moments are the system's own, so how often this user asks does not blur them.
    """

    weight = WEIGHTS["DeliveryWatcher"]
    wait_time = between(0.2, 0.5)

    @task
    def watch(self) -> None:
        """Follow one mail of the last seconds to its end."""
        ident = session.some_email(at_most=2)
        if ident is None:
            return
        until, wait = time.monotonic() + WATCH, 0.2
        while time.monotonic() < until and not session.ending:
            found = self.read(f"/emails/{ident}/timeline", "/v1/emails/{id}/timeline", _Timeline)
            way = journey([(entry.kind, entry.at) for entry in found.data]) if found else None
            if way is not None:
                self.environment.events.request.fire(
                    request_type="mail",
                    name=f"accept→{way.end}",
                    response_time=way.seconds * 1000,
                    response_length=0,
                    exception=None,
                    context={},
                )
                return
            gevent.sleep(wait)
            wait = min(2.0, wait * 1.5)
