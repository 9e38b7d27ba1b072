"""A receiver takes what the Standard Webhooks library signs, and nothing else."""

import base64
import json
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from mailwarren.load.webhook import TOLERANCE, Forged, read_request

SECRET = f"whsec_{base64.b64encode(bytes(range(32))).decode()}"
NOW = 1_763_913_600.5
BODY = json.dumps({"type": "email.delivered", "created_at": "2025-11-23T15:59:58.500Z", "data": {"to": ["a@x.test"]}})


def signed(body: str = BODY, at: float = NOW, ident: str = "evt_1") -> dict[str, str]:
    signature = Webhook(SECRET).sign(ident, datetime.fromtimestamp(at, UTC), body)
    return {"webhook-id": ident, "webhook-timestamp": str(int(at)), "webhook-signature": f"v1,b3RoZXI= {signature}"}


def test_a_signed_request_is_read_and_its_age_known() -> None:
    told = read_request(signed(), BODY.encode(), SECRET, NOW)
    assert (told.id, told.type, told.age) == ("evt_1", "email.delivered", 2.0)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (signed() | {"webhook-id": "evt_2"}, BODY),
        (signed(), BODY.replace("a@x", "b@x")),
        (signed() | {"webhook-signature": ""}, BODY),
        ({}, BODY),
        (signed(at=NOW - TOLERANCE - 5), BODY),
        (signed(at=NOW + TOLERANCE + 5), BODY),
        (signed() | {"webhook-timestamp": "soon"}, BODY),
        (signed("no JSON"), "no JSON"),
        (signed("{}"), "{}"),
    ],
)
def test_what_is_not_signed_fresh_and_readable_is_refused(headers: dict[str, str], body: str) -> None:
    with pytest.raises(Forged):
        read_request(headers, body.encode(), SECRET, NOW)
