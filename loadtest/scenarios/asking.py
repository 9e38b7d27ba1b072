"""Calls that are neither mail nor reads of it: made again while the API asks for patience, judged by their status."""

import time
from typing import Any

import gevent
import msgspec
from locust.exception import StopUser

from mailwarren.load.plan import PATIENCE
from mailwarren.load.verdict import message_of, pressure
from scenarios.posting import ApiUser
from scenarios.session import session

_FAILED = 400


class Asker(ApiUser):
    """A user that makes and changes what mail is sent to, and what hears of it."""

    abstract = True

    def ask(self, method: str, path: str, name: str, body: bytes | None = None, *, csv: bool = False) -> Any:
        """The answer, decoded; None when it was wrong, which Locust has counted then.

        Args:
            method: of the call.
            path: below ``/v1``.
            name: how Locust counts it.
            body: the same bytes at each try.
            csv: the body is a file, and no JSON.

        Raises:
            StopUser: the run is over, and the patience too.
        """
        headers = {"Content-Type": "text/csv" if csv else "application/json"} if body is not None else {}
        while True:
            with self.client.request(
                method,
                path,
                data=body,  # type: ignore[arg-type] # bytes are sent as they are
                headers=headers,
                name=f"/v1{name}",
                catch_response=True,
            ) as response:
                found = {field.lower(): value for field, value in (response.headers or {}).items()}
                content = response.content or b""
                again = pressure(response.status_code, found)
                if again is None:
                    if response.status_code >= _FAILED:
                        response.failure(f"status {response.status_code}: {message_of(content)}")
                        return None
                    response.success()
                    return msgspec.json.decode(content) if content else {}
                self.pressed(response, again, f"/v1{name}")
            if time.monotonic() > session.ended_at + PATIENCE:
                raise StopUser
            gevent.sleep(max(again.wait, 0.1))

    def note(self, kind: str, name: str, seconds: float, wrong: str | None = None) -> None:
        """Count something that is no answer of the API: how long it took, or what was wrong."""
        self.environment.events.request.fire(
            request_type=kind,
            name=name,
            response_time=seconds * 1000,
            response_length=0,
            exception=None if wrong is None else ValueError(wrong),
            context={},
        )
