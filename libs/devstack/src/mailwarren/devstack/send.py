"""``make send``: one mail through the API, and what became of it."""

import time
from typing import Any

import httpx

from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.stack import Stack
from mailwarren.devstack.terminal import say

FROM = "Mailwarren <hello@mailwarren.example>"
_WATCH_SECONDS = 10.0
_ENDS = {"delivered", "bounced", "failed", "canceled", "suppressed", "complained"}


def send(stack: Stack, to: str, sender: str | None) -> int:
    """Posts one mail and follows it for up to ten seconds; returns 0 when it was accepted.

    Raises:
        DevstackError: nothing runs here, or the API refused the mail.
    """
    at = stack.addresses()
    if at is None or not stack.supervisor.is_running():
        raise DevstackError("the stack is not running here; start it with: make up")
    body = {
        "from": sender or FROM,
        "to": [to],
        "subject": "Hello from Mailwarren",
        "text": "This mail went through RabbitMQ, a Celery sender and SMTP to you.\n",
        "html": "<p>This mail went through RabbitMQ, a Celery sender and SMTP to you.</p>",
        "priority": "high",
    }
    headers = {"Authorization": f"Bearer {stack.api_key()}"}
    with httpx.Client(base_url=at.api_url, headers=headers, timeout=30) as api:
        try:
            answer = api.post("/emails", json=body)
        except httpx.HTTPError as error:
            raise DevstackError(f"the API at {at.api_url} does not answer: {error}") from error
        if answer.is_error:
            raise DevstackError(f"The API refused it ({answer.status_code}): {answer.text}")
        email = answer.json()["id"]
        say(f"accepted  {email}")
        if at.smtp_url is None:
            say(f"          (no SMTP_URL: it goes to the sink, {at.sink_url})")
        _watch(api, email)
    return 0


def _watch(api: httpx.Client, email: str) -> None:
    deadline = time.monotonic() + _WATCH_SECONDS
    shown = ""
    while time.monotonic() < deadline:
        state = str(_get(api, f"/emails/{email}").get("last_event", "queued"))
        if state != shown:
            shown = state
            say(f"{state:<9} {_last_reply(_get(api, f'/emails/{email}/timeline'))}".rstrip())
        if state in _ENDS:
            return
        time.sleep(0.25)
    say(
        f"Still {shown or 'queued'} after {_WATCH_SECONDS:.0f} s; later: curl with the key of .local/env, or make logs."
    )


def _get(api: httpx.Client, path: str) -> dict[str, Any]:
    answer = api.get(path)
    found: dict[str, Any] = answer.json() if answer.is_success else {}
    return found


def _last_reply(timeline: dict[str, Any]) -> str:
    """The newest SMTP reply of the attempts: code, enhanced code and text."""
    events = [event for event in timeline.get("data", []) if isinstance(event, dict) and event.get("reply")]
    if not events:
        return ""
    reply = events[-1]["reply"]
    if not isinstance(reply, dict):
        return str(reply)
    return " ".join(str(reply[part]) for part in ("code", "enhanced", "text") if reply.get(part))
