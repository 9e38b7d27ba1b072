# ruff: noqa: INP001
# A script that a ConfigMap carries, so no package.
"""``helm test``: a mail goes through the release to its sink, and the ledger and the sink agree about it.

Runs with the Python of the ingest image and nothing else. Ends with 0, or with 1 and the reason on stderr.
"""

import json
import os
import sys
import time
import uuid
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

WITHIN = 120.0
"""Seconds for the mail to arrive, and for the API to answer at all."""
PAUSE = 0.5


class Failed(Exception):
    """The release does not do its work; the text says what was seen last."""


def call(url: str, *, key: str = "", body: dict[str, Any] | None = None) -> Any:
    """The JSON answer of an HTTP call.

    Raises:
        Failed: no answer, or an error.
    """
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, headers)  # noqa: S310 - the release's own services
    try:
        with urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.load(answer)
    except HTTPError as error:
        raise Failed(f"{url} answered {error.code}: {error.read(500).decode(errors='replace')}") from error
    except (URLError, OSError, ValueError) as error:
        raise Failed(f"{url} gave no answer: {error}") from error


def wait_for_delivery(email_url: str, key: str, deadline: float) -> None:
    """Until the ledger says delivered.

    Raises:
        Failed: it says something final that is worse, or nothing in time.
    """
    seen = "nothing"
    while time.monotonic() < deadline:
        try:
            seen = call(email_url, key=key)["last_event"]
        except Failed as error:
            seen = str(error)
        if seen == "delivered":
            return
        if seen in {"bounced", "failed", "suppressed", "canceled"}:
            break
        time.sleep(PAUSE)
    raise Failed(f"the mail is not delivered; the ledger's last word: {seen}")


def check(api: str, key: str, sink: str | None) -> str:
    """What was found to work.

    Raises:
        Failed: something was not.
    """
    deadline = time.monotonic() + WITHIN
    while True:
        try:
            call(f"{api}/emails?limit=1", key=key)
            break
        except Failed:
            if time.monotonic() > deadline:
                raise
            time.sleep(PAUSE)
    if not sink:
        return "the API answers and knows the key; no mail was sent, because sink.enabled is false"
    to = f"helm-test-{uuid.uuid4().hex}@example.com"
    mail = {
        "from": "helm-test@example.com",
        "to": [to],
        "subject": "helm test",
        "text": "Sent by helm test.",
        "priority": "high",
    }
    began = time.monotonic()
    sent = call(f"{api}/emails", key=key, body=mail)
    wait_for_delivery(f"{api}/emails/{sent['id']}", key, deadline)
    took = time.monotonic() - began
    got = len(call(f"{sink}/messages?to={quote(to)}"))
    if got != 1:
        raise Failed(f"the ledger says delivered, but the sink has {got} mails for {to}")
    return f"mail {sent['id']} was delivered in {took:.1f} s; the sink has it once"


def main() -> int:
    """The exit status."""
    try:
        found = check(
            os.environ["MAILWARREN_API_URL"], os.environ["MAILWARREN_API_KEY"], os.environ.get("MAILWARREN_SINK_URL")
        )
    except Failed as error:
        sys.stderr.write(f"FAILED: {error}\n")
        return 1
    sys.stdout.write(f"ok: {found}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
