"""Signatures, verified by the libraries that receivers use, never by our own code."""

import json
import time
from uuid import UUID

import pytest
import resend
import standardwebhooks.webhooks
import svix.webhooks

from mailwarren.contracts.webhooks import SECRET_OCTETS, secret_text
from mailwarren.tracker.domain.webhook_signing import signed_headers

IDENT = UUID("018f0000-0000-7000-8000-00000000000a")
BODY = '{"type":"email.delivered","data":{"subject":"Grüße"}}'.encode()
NEW, OLD, OTHER = (bytes([number]) * SECRET_OCTETS for number in (1, 2, 3))


def headers(*keys, body=BODY, at=None):
    made = signed_headers(IDENT, int(time.time()) if at is None else at, body, keys)
    return {name.decode(): value.decode() for name, value in made}


def by_svix(secret, body, given):
    svix.webhooks.Webhook(secret).verify(body, given)
    return json.loads(body)


def by_standard_webhooks(secret, body, given):
    return standardwebhooks.webhooks.Webhook(secret).verify(body, given)


def by_resend(secret, body, given):
    three = {name: given[f"svix-{name}"] for name in ("id", "timestamp", "signature")}
    return resend.Webhooks.verify({"payload": body.decode(), "headers": three, "webhook_secret": secret})


def only(form, given):
    return {name: value for name, value in given.items() if name.startswith(form)}


VERIFIERS = [by_svix, by_standard_webhooks, by_resend]
WRONG = (svix.webhooks.WebhookVerificationError, standardwebhooks.webhooks.WebhookVerificationError, ValueError)


@pytest.mark.parametrize("verify", VERIFIERS)
def test_it_is_verified(verify):
    assert verify(secret_text(NEW), BODY, headers(NEW)) == json.loads(BODY)


@pytest.mark.parametrize("verify", VERIFIERS)
def test_while_two_secrets_are_in_force_each_verifies_and_no_other(verify):
    given = headers(NEW, OLD)
    for key in (NEW, OLD):
        assert verify(secret_text(key), BODY, given)
    with pytest.raises(WRONG):
        verify(secret_text(OTHER), BODY, given)


@pytest.mark.parametrize("verify", VERIFIERS)
def test_an_octet_that_was_changed_and_a_time_that_is_past_are_found(verify):
    with pytest.raises(WRONG):
        verify(secret_text(NEW), BODY.replace(b"delivered", b"delivereD"), headers(NEW))
    with pytest.raises(WRONG):
        verify(secret_text(NEW), BODY, headers(NEW, at=int(time.time()) - 3600))


def test_the_headers_stand_under_both_names():
    given = headers(NEW)
    assert by_svix(secret_text(NEW), BODY, only("svix-", given))
    assert by_svix(secret_text(NEW), BODY, only("webhook-", given))
    assert by_standard_webhooks(secret_text(NEW), BODY, only("webhook-", given))
    assert given["webhook-id"] == given["svix-id"] == str(IDENT)
