"""``mailwarren send``: one mail through the API."""

import uuid
from typing import Any

import httpx

from mailwarren.ingest.commands import Failed

TIMEOUT = 30.0


def send(url: str, key: str, mail: dict[str, Any]) -> dict[str, Any]:
    """Post a mail; asked again with the same Idempotency-Key it is not sent twice.

    Args:
        url: of the API, ending in ``/v1``.
        key: an API key.
        mail: the body of ``POST /emails``.

    Raises:
        Failed: the API cannot be reached, or said no.
    """
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": str(uuid.uuid4())}
    try:
        answer = httpx.post(f"{url.rstrip('/')}/emails", json=mail, headers=headers, timeout=TIMEOUT)
        body = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise Failed(f"no API at {url}: {error or type(error).__name__}") from error
    if answer.is_error:
        raise Failed(f"{answer.status_code} {body.get('name')}: {body.get('message')}")
    return dict(body)
