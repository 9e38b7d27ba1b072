"""The official Python SDK, unmodified but for its base URL: sync, async, and every error as the SDK raises it."""

import pytest
import resend
from resend.exceptions import (
    InvalidApiKeyError,
    MissingApiKeyError,
    MissingRequiredFieldsError,
    ResendError,
    ValidationError,
)


@pytest.fixture(autouse=True)
def sdk(server, caller, monkeypatch):
    monkeypatch.setattr(resend, "api_url", server.url)
    monkeypatch.setattr(resend, "api_key", caller.token)


def test_send(mail, queues):
    sent = resend.Emails.send(mail | {"reply_to": "desk@sender.test", "headers": {"X-Entity-Ref-ID": "1"}})
    [parcel] = queues.parcels()
    assert str(parcel.deliveries[0].email_id) == sent["id"]
    assert sent["http_headers"]["x-request-id"]


async def test_send_async(mail, queues):
    sent = await resend.Emails.send_async(mail, {"idempotency_key": "async-1"})
    again = await resend.Emails.send_async(mail, {"idempotency_key": "async-1"})
    assert again["id"] == sent["id"]
    assert again["http_headers"]["idempotent-replayed"] == "true"
    assert len(queues.parcels()) == 1


def test_batch_strict_sends_all_or_nothing(mail, queues):
    with pytest.raises(ValidationError) as caught:
        resend.Batch.send([mail, mail | {"to": "nobody"}])
    assert "email 1 of the batch" in caught.value.message
    assert queues.parcels() == []
    answer = resend.Batch.send([mail, mail | {"to": "carol@example.test"}])
    assert len(answer["data"]) == 2
    assert "errors" not in answer
    assert {str(p.deliveries[0].email_id) for p in queues.parcels()} == {row["id"] for row in answer["data"]}


async def test_batch_permissive_names_what_it_left_out(mail, queues):
    answer = await resend.Batch.send_async(
        [mail | {"to": "nobody"}, mail, {"subject": "x"}], {"batch_validation": "permissive"}
    )
    assert [error["index"] for error in answer["errors"]] == [0, 2]
    assert "`to`" in answer["errors"][0]["message"]
    assert len(answer["data"]) == len(queues.parcels()) == 1


def test_api_keys_from_creation_to_deletion(mail):
    made = resend.ApiKeys.create({"name": "CI", "permission": "sending_access"})
    assert made["token"].startswith("mw_")
    listed = resend.ApiKeys.list()
    assert listed["object"] == "list"
    assert [key["name"] for key in listed["data"]] == ["CI", "test"]
    assert "token" not in listed["data"][0]
    assert resend.ApiKeys.update({"id": made["id"], "name": "deploy"})["id"] == made["id"]
    assert resend.ApiKeys.list()["data"][0]["name"] == "deploy"
    assert resend.ApiKeys.remove(made["id"])["deleted"] is True
    assert [key["name"] for key in resend.ApiKeys.list()["data"]] == ["test"]
    resend.api_key = made["token"]
    with pytest.raises(InvalidApiKeyError):
        resend.Emails.send(mail)


async def test_api_keys_async():
    made = await resend.ApiKeys.create_async({"name": "CI"})
    assert [key["id"] for key in (await resend.ApiKeys.list_async({"limit": 1}))["data"]] == [made["id"]]
    assert (await resend.ApiKeys.remove_async(made["id"]))["object"] == "api_key"


def test_every_error_is_the_class_that_the_sdk_knows(mail, new_caller, caller):
    def fails(kind, code, name, call, *arguments):
        with pytest.raises(kind) as caught:
            call(*arguments)
        assert type(caught.value) is kind
        assert (caught.value.code, caught.value.error_type) == (code, name)

    fails(MissingRequiredFieldsError, 422, "missing_required_field", resend.Emails.send, {**mail, "text": None})
    fails(ValidationError, 422, "validation_error", resend.Emails.send, mail | {"scheduled_at": "soon"})
    fails(ResendError, 404, "not_found", resend.Emails.cancel, str(caller.key))
    fails(ResendError, 422, "invalid_parameter", resend.Emails.get, "not-a-uuid")
    fails(ResendError, 422, "invalid_parameter", resend.Emails.list, {"limit": 101})
    fails(ResendError, 404, "not_found", resend.Emails.share, str(caller.key))
    fails(ResendError, 400, "invalid_idempotency_key", resend.Emails.send, mail, {"idempotency_key": "x" * 257})
    resend.Emails.send(mail, {"idempotency_key": "once"})
    fails(
        ResendError, 409, "invalid_idempotent_request",
        resend.Emails.send, mail | {"subject": "Other"}, {"idempotency_key": "once"},
    )  # fmt: skip
    resend.api_key = new_caller("sending_access").token
    fails(ResendError, 401, "restricted_api_key", resend.Emails.list)
    fails(ResendError, 401, "restricted_api_key", resend.ApiKeys.create, {"name": "more"})
    resend.api_key = "mw_unknown"
    fails(InvalidApiKeyError, 403, "invalid_api_key", resend.Emails.send, mail)


def test_no_key_at_all(server, mail, monkeypatch):
    # The SDK always sends the header; with an empty key it is `Bearer `.
    monkeypatch.setattr(resend, "api_key", "")
    with pytest.raises(MissingApiKeyError):
        resend.Emails.send(mail)
