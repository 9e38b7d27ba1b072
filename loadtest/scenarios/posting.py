"""How every user posts: a keyed call, repeated while the API asks for patience, its answer checked in every field."""

import os
import time
from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

import gevent
import msgspec
from locust import FastHttpUser
from locust.contrib.fasthttp import ResponseContextManager
from locust.exception import StopUser

from mailwarren.load.plan import PATIENCE
from mailwarren.load.verdict import Accepted, Again, Form, Verdict, Wrong, judge
from scenarios.session import session

BACKPRESSURE = "backpressure"
"""Request type of the calls that were answered with 429, 503 or nothing, and made again."""


class ApiUser(FastHttpUser):
    """A user with the API key. A connection for itself, as an application's process has."""

    abstract = True
    network_timeout = 60.0
    connection_timeout = 10.0
    default_headers = {"Authorization": f"Bearer {os.environ.get('MAILWARREN_API_KEY', '')}"}  # noqa: RUF012

    def pressed(self, response: ResponseContextManager, again: Again, name: str) -> None:
        """Count a call that has to be made again: in a line of its own, not among the answers."""
        what = "no answer" if not again.status else "rows unconfirmed" if again.reason else again.status
        response.request_meta |= {"request_type": BACKPRESSURE, "name": f"{what}: {name}"}
        response.success()


class Poster(ApiUser):
    """A user that posts. ``pause`` is its usual wait between two calls, seconds from and to."""

    abstract = True
    pause: ClassVar[tuple[float, float]] = (0.5, 1.5)

    told_at = float("inf")
    """When Locust told this user to stop, which need not be the end of the run: a shape ebbs away, too."""

    def stop(self, force: bool = False) -> bool:  # noqa: FBT001, FBT002 - Locust's own signature
        """Told to stop: the call that it is in gets its patience."""
        self.told_at = time.monotonic()
        return bool(super().stop(force))

    def wait_time(self) -> float:
        """By the plan's rate from one call's beginning to the next one's, or at the user's own pace."""
        pace = session.plan.pace(type(self).__name__)
        if pace is None:
            return session.rng.uniform(*self.pause)
        return max(0.0, self._began + self._posted / pace - time.monotonic())

    def on_start(self) -> None:
        """Users of one moment do not call in step."""
        self._began, self._posted = time.monotonic(), 0
        pace = session.plan.pace(type(self).__name__)
        gevent.sleep(session.rng.random() * (min(5.0, 1 / pace) if pace else self.pause[0]))

    def post(self, form: Form, body: Any, recipients: Sequence[tuple[str, str]]) -> None:
        """Make one call until there is an answer, and note what it says about each recipient.

        Args:
            form: the kind of call.
            body: encoded once; every try has the same bytes.
            recipients: address and lane of each, in the call's order.
        """
        if session.ending:
            raise StopUser
        self._began, self._posted = time.monotonic(), len(recipients)
        known: dict[int, UUID] = {}
        reason = "the user was stopped"
        done = False
        try:
            content, key = msgspec.json.encode(body), session.key()
            while True:
                verdict = self._try(form, content, key, recipients)
                if isinstance(verdict, Accepted):
                    known, done = dict(enumerate(verdict.ids)), True
                    return
                known = verdict.ids
                if isinstance(verdict, Wrong):
                    done = True
                    return
                reason = f"{verdict.status or 'no answer'} {verdict.reason}".rstrip()
                if time.monotonic() > min(session.ended_at, self.told_at) + PATIENCE:
                    return
                gevent.sleep(max(verdict.wait, 0.1) * (1 + session.rng.random() / 2))
        finally:
            for place, (address, lane) in enumerate(recipients):
                if place in known:
                    session.accepted(known[place], address, lane)
                elif not done:
                    session.unanswered(address, lane, reason)

    def _try(self, form: Form, content: bytes, key: str, recipients: Sequence[tuple[str, str]]) -> Verdict:
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        name = f"/v1{form.value}"
        with self.client.post(
            form.value,
            data=content,  # type: ignore[arg-type] # bytes are sent as they are
            headers=headers,
            name=name,
            catch_response=True,
        ) as response:
            found = {field.lower(): value for field, value in (response.headers or {}).items()}
            addresses = [address for address, _ in recipients]
            verdict = judge(form, response.status_code, found, response.content or b"", addresses)
            if isinstance(verdict, Again):
                self.pressed(response, verdict, name)
            elif isinstance(verdict, Wrong):
                response.failure(verdict.reason)
            else:
                response.success()
        return verdict
