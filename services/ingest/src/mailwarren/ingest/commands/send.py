"""``mailwarren send``: one mail through the API."""

import uuid
from typing import Any

from mailwarren.ingest.commands.api import Api


def send(api: Api, mail: dict[str, Any]) -> dict[str, Any]:
    """Post a mail; asked again with the same Idempotency-Key it is not sent twice.

    Args:
        api: where.
        mail: the body of ``POST /emails``.

    Raises:
        Failed: the API cannot be reached, or said no.
    """
    return api.call("POST", "/emails", mail, headers={"Idempotency-Key": str(uuid.uuid4())})
