"""Webhooks through the official SDK, and what ingest itself has them told."""

import base64
import json
import time
from uuid import UUID

import pytest
import resend
from resend.webhooks._webhook_event import (
    ContactCreatedEvent,
    ContactDeletedEvent,
    ContactTopicsUpdatedEvent,
    ContactUpdatedEvent,
    EmailScheduledEvent,
    SuppressionAddedEvent,
    SuppressionRemovedEvent,
    TopicCreatedEvent,
    TopicDeletedEvent,
    TopicUpdatedEvent,
)
from sdk_shapes import check, refused

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.webhooks import NOT_MADE_YET, EventType

pytestmark = pytest.mark.usefixtures("sdk")

Webhooks = resend.Webhooks
URL = "https://hooks.example.test/mail?of=us"
SENT = ["email.sent", "email.delivered"]
OURS = {"disabled_reason"}


def make(events=None, url=URL):
    return Webhooks.create({"endpoint": url, "events": events or SENT})


async def test_a_webhook_from_making_to_deletion(place, caller):
    made = make()
    check(made, Webhooks.CreateWebhookResponse)
    assert len(base64.b64decode(made["signing_secret"].removeprefix("whsec_"), validate=True)) == 32
    other = await Webhooks.create_async({"endpoint": URL, "events": ["email.bounced", "email.bounced"]})
    found = Webhooks.get(made["id"])
    check(found, resend.Webhook, ours=OURS)
    assert (found["endpoint"], found["events"], found["status"]) == (URL, SENT, "enabled")
    assert found["signing_secret"] == made["signing_secret"]
    listed = Webhooks.list()
    check(listed, Webhooks.ListResponse, ours={"data.disabled_reason"})
    assert [(row["id"], row["events"], row["signing_secret"]) for row in listed["data"]] == [
        (other["id"], ["email.bounced"], None), (made["id"], SENT, None),
    ]  # fmt: skip
    page = await Webhooks.list_async({"limit": 1})
    assert ([row["id"] for row in page["data"]], page["has_more"]) == ([other["id"]], True)
    page = Webhooks.list({"limit": 1, "after": other["id"]})
    assert ([row["id"] for row in page["data"]], page["has_more"]) == ([made["id"]], False)
    change = {"webhook_id": made["id"], "endpoint": "https://other.example.test/", "events": ["email.failed"]}
    check(Webhooks.update({**change, "status": "disabled"}), Webhooks.UpdateWebhookResponse)
    found = await Webhooks.get_async(made["id"])
    assert (found["endpoint"], found["events"], found["status"], found["disabled_reason"]) == (
        "https://other.example.test/", ["email.failed"], "disabled", None,
    )  # fmt: skip
    await Webhooks.update_async({"webhook_id": made["id"], "status": "enabled"})
    assert Webhooks.get(made["id"])["status"] == "enabled"
    check(Webhooks.remove(made["id"]), Webhooks.DeleteWebhookResponse)
    check(await Webhooks.remove_async(other["id"]), Webhooks.DeleteWebhookResponse)
    assert refused(Webhooks.get, made["id"])[0] == 404
    assert place.sql("SELECT 1 FROM webhooks WHERE tenant = $1", caller.tenant) == []


async def test_a_rotation_keeps_the_secret_before_for_a_day_and_the_database_keeps_none_in_clear(place, caller):
    made = make()
    first = Webhooks.rotate_signing_secret(made["id"])
    check(first, Webhooks.RotateSigningSecretResponse)
    second = await Webhooks.rotate_signing_secret_async(made["id"])
    assert len({one["signing_secret"] for one in (made, first, second)}) == 3
    assert Webhooks.get(made["id"])["signing_secret"] == second["signing_secret"]
    (row,) = place.sql(
        "SELECT secret, previous_secret, extract(epoch FROM previous_until - now())::int AS left FROM webhooks "
        "WHERE tenant = $1", caller.tenant,
    )  # fmt: skip
    assert 86390 < row["left"] <= 86400
    for one in (made, first, second):
        key = base64.b64decode(one["signing_secret"].removeprefix("whsec_"))
        assert key not in row["secret"] + row["previous_secret"]
    assert refused(Webhooks.rotate_signing_secret, str(new_id()))[0] == 404


def test_what_cannot_be_a_webhook_is_refused_by_its_field(client):
    good = {"endpoint": URL, "events": SENT}
    for change, words in (
        ({"endpoint": None}, "Invalid `endpoint` field"),
        ({"endpoint": "hooks.example.test"}, "Invalid `endpoint` field: give an address that starts with https://."),
        ({"endpoint": "http://hooks.example.test/"}, "Invalid `endpoint` field: give an address that starts with"),
        ({"endpoint": "https://u:p@hooks.example.test/"}, "Invalid `endpoint` field: an address with a user name"),
        ({"endpoint": "https://hooks.example.test/#x"}, "Invalid `endpoint` field: an address with a user name"),
        ({"endpoint": "https://hooks.example.test:0/"}, "Invalid `endpoint` field: it is no address"),
        ({"endpoint": "https://hooks.example.test:x/"}, "Invalid `endpoint` field"),
        ({"endpoint": "https://hooks.example.test/ x"}, "Invalid `endpoint` field: it is no address"),
        ({"endpoint": "https://hooks.example.test/é"}, "Invalid `endpoint` field: write it in ASCII"),
        ({"endpoint": "https://x.test/" + "x" * 2048}, "Invalid `endpoint` field: it is no address"),
        ({"endpoint": "https://127.0.0.1/"}, "Invalid `endpoint` field: its address is not public."),
        ({"endpoint": "https://[fd00::1]/"}, "Invalid `endpoint` field: its address is not public."),
        ({"endpoint": "https://localhost/"}, "Invalid `endpoint` field: its address is not public."),
        ({"events": []}, "Missing `events` field"),
        ({"events": None}, "Invalid `events` field"),
        ({"events": ["email.received"]}, "Invalid `events[0]` field: invalid enum value 'email.received'."),
        ({"events": ["email.sent", "inbox.created"]}, "Invalid `events[1]` field"),
        ({"name": "x"}, "Unknown `name` field"),
    ):
        answer = client.post("/webhooks", json=good | change)
        assert (answer.status_code, answer.json()["message"][: len(words)]) == (422, words)
    ident = make()["id"]
    for change, words in (
        ({"status": "paused"}, "Invalid `status` field"),
        ({"endpoint": "http://x.test/"}, "Invalid `endpoint` field"),
        ({"webhook_id": str(new_id())}, "Invalid `webhook_id` field"),
    ):
        answer = client.patch(f"/webhooks/{ident}", json=change)
        assert (answer.status_code, answer.json()["message"][: len(words)]) == (422, words)
    assert client.patch(f"/webhooks/{new_id()}", json={"status": "disabled"}).status_code == 404
    assert client.delete(f"/webhooks/{new_id()}").status_code == 404


@pytest.mark.parametrize("kind", sorted(NOT_MADE_YET))
def test_a_type_that_nothing_makes_yet_is_refused_by_name(kind):
    code, message = refused(make, ["email.sent", str(kind)])
    assert (code, message) == (422, f"Invalid `events[1]` field: `{kind}` is not supported yet. Remove it.")


def test_there_is_a_bound(client):
    for _ in range(50):
        make()
    assert refused(make)[0] == 422


def test_without_keys_webhooks_are_refused_and_deleting_one_goes_on(start, place, caller, server):
    ident = make()["id"]
    bare = start()
    with bare.client(caller.token) as client:
        answer = client.post("/webhooks", json={"endpoint": URL, "events": SENT})
        assert answer.status_code == 422
        assert "no keys to encrypt" in answer.json()["message"]
        assert client.post(f"/webhooks/{ident}/signing-secret/rotate").status_code == 422
        assert client.get(f"/webhooks/{ident}").json()["signing_secret"] is None
        assert client.delete(f"/webhooks/{ident}").status_code == 200


def test_private_addresses_are_taken_where_the_installation_says_so(start, caller, tmp_path):
    keys = tmp_path / "keys"
    keys.write_bytes(base64.b64encode(b"k" * 32))
    with start(data_keys=keys, private_webhooks=True).client(caller.token) as client:
        for url in ("http://127.0.0.1:8000/", "https://hook.svc.cluster.local/"):
            assert client.post("/webhooks", json={"endpoint": url, "events": SENT}).status_code == 201


def add_event(place, tenant, webhook, **changes):
    values = {
        "kind": "email.bounced", "data": '{"to": ["a@b.test"], "bounce": {"message": "no", "subType": "x", '
        '"type": "Permanent"}}', "email_id": None, "state": "pending",
    } | changes  # fmt: skip
    ident = new_id()
    place.sql(
        "INSERT INTO webhook_deliveries (tenant, endpoint, id, kind, at, data, email_id, state) "
        "VALUES ($1, $2, $3, $4, now(), $5, $6, $7)", tenant, UUID(webhook), ident, *values.values(),
    )  # fmt: skip
    return str(ident)


def add_email(place, tenant):
    ident = new_id()
    place.sql(
        'INSERT INTO emails (id, tenant, created_at, lane, partition, content, sender, subject, "to", cc, bcc, '
        "reply_to, tags, metadata, message_id, on_unknown) VALUES ($1, $2, now(), 'normal', 1, 'x', 'Ada <a@s.test>', "
        "'Hi', '{a@b.test}', '{}', '{}', '{}', '[{\"name\": \"n\", \"value\": \"v\"}]', '{}', 'm@s.test', 'resend')",
        ident, tenant,
    )  # fmt: skip
    return ident


async def test_events_their_tries_and_a_replay(place, caller, new_caller, server):
    webhook = make()["id"]
    ids = [add_event(place, caller.tenant, webhook, email_id=add_email(place, caller.tenant)) for _ in range(3)]
    listed = Webhooks.list_events(webhook)
    check(listed, Webhooks.ListEventsResponse)
    assert [row["id"] for row in listed["data"]] == ids[::-1]
    page = await Webhooks.list_events_async(webhook, {"limit": 2, "after": ids[2]})
    assert ([row["id"] for row in page["data"]], page["has_more"]) == ([ids[1], ids[0]], False)
    event = Webhooks.get_event(webhook, ids[0])
    check(event, Webhooks.GetEventResponse)
    assert (event["type"], event["status"]) == ("email.bounced", "pending")
    assert event["next_attempt_at"] is not None
    assert event["payload"]["data"]["from"] == "Ada <a@s.test>"
    assert event["payload"]["data"]["tags"] == {"n": "v"}
    place.sql(
        "UPDATE webhook_deliveries SET state = 'failed', due_at = NULL, attempts = 8, ended_at = now() WHERE id = $1",
        UUID(ids[0]),
    )
    for status, response in ((500, "oh"), (0, "no connection")):
        place.sql(
            "INSERT INTO webhook_attempts VALUES ($1, $2, $3, $4, now(), $5, $6, 0.1)",
            caller.tenant, UUID(webhook), UUID(ids[0]), new_id(), status, response,
        )  # fmt: skip
    tries = Webhooks.list_event_attempts(webhook, ids[0])
    check(tries, Webhooks.ListEventAttemptsResponse)
    assert [(row["http_status_code"], row["response"]) for row in tries["data"]] == [(0, "no connection"), (500, "oh")]
    assert len((await Webhooks.list_event_attempts_async(webhook, ids[0], {"limit": 1}))["data"]) == 1
    assert (await Webhooks.get_event_async(webhook, ids[0]))["next_attempt_at"] is None
    replayed = Webhooks.replay_event(webhook, ids[0])
    check(replayed, Webhooks.ReplayEventResponse)
    assert replayed["id"] == ids[0]
    (row,) = place.sql(
        "SELECT state, attempts, due_at <= now() AS due FROM webhook_deliveries WHERE id = $1", UUID(ids[0])
    )
    assert tuple(row) == ("pending", 0, True)
    assert refused(Webhooks.replay_event, webhook, str(new_id()))[0] == 404
    Webhooks.update({"webhook_id": webhook, "status": "disabled"})
    assert refused(Webhooks.replay_event, webhook, ids[0])[0] == 422
    with server.client(new_caller().token) as stranger:
        for method, path in (
            ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/signing-secret/rotate"), ("GET", "/events"),
            ("GET", f"/events/{ids[0]}"), ("GET", f"/events/{ids[0]}/attempts"), ("POST", f"/events/{ids[0]}/replay"),
        ):  # fmt: skip
            body = {} if method == "PATCH" else None
            assert stranger.request(method, f"/webhooks/{webhook}{path}", json=body).status_code == 404, path
        assert stranger.get("/webhooks").json()["data"] == []


def test_one_that_was_given_up_says_why_until_it_is_enabled_again(place, caller):
    webhook = make()["id"]
    place.sql(
        "INSERT INTO webhook_health (tenant, endpoint, disabled_at, reason) VALUES ($1, $2, clock_timestamp(), 'gone')",
        caller.tenant, UUID(webhook),
    )  # fmt: skip
    found = Webhooks.get(webhook)
    assert (found["status"], found["disabled_reason"]) == ("disabled", "gone")
    Webhooks.update({"webhook_id": webhook, "status": "enabled"})
    found = Webhooks.get(webhook)
    assert (found["status"], found["disabled_reason"]) == ("enabled", None)


# What ingest has told


def told(webhook):
    events = Webhooks.list_events(webhook, {"limit": 100})["data"]
    return [Webhooks.get_event(webhook, event["id"])["payload"] for event in reversed(events)]


OF_CONTACTS = ["contact.created", "contact.updated", "contact.deleted", "contact.topics.updated"]


def test_contacts_are_told_as_they_are_made_changed_and_deleted():
    webhook = make(OF_CONTACTS)["id"]
    segment = resend.Segments.create({"name": "All"})["id"]
    ada = resend.Contacts.create({"email": "ada@x.test", "first_name": "Ada", "segments": [{"id": segment}]})["id"]
    resend.Contacts.create({"email": "ADA@x.test", "last_name": "L"})
    resend.Contacts.update({"id": ada, "unsubscribed": True})
    topic = resend.Topics.create({"name": "News", "default_subscription": "opt_in"})["id"]
    resend.Contacts.Topics.update({"id": ada, "topics": [{"id": topic, "subscription": "opt_out"}]})
    resend.Contacts.remove(id=ada)
    found = told(webhook)
    kinds = [
        ContactCreatedEvent,
        ContactUpdatedEvent,
        ContactUpdatedEvent,
        ContactTopicsUpdatedEvent,
        ContactDeletedEvent,
    ]
    for payload, kind in zip(found, kinds, strict=True):
        check(payload, kind)
    made, again, changed, chosen, deleted = (payload["data"] for payload in found)
    assert (made["id"], made["segment_ids"], made["first_name"], made["last_name"]) == (ada, [segment], "Ada", None)
    assert (again["last_name"], changed["unsubscribed"], deleted["unsubscribed"]) == ("L", True, True)
    assert chosen == {"email": "ada@x.test", "topics": [{"id": topic, "subscription": "opt_out"}]}


def test_what_was_not_done_is_not_told():
    webhook = make([*OF_CONTACTS, "topic.created", "topic.updated", "topic.deleted"])["id"]
    assert refused(resend.Contacts.remove, id=str(new_id()))[0] == 404
    assert refused(resend.Topics.update, str(new_id()), {"name": "x"})[0] == 404
    assert refused(resend.Topics.remove, str(new_id()))[0] == 404
    assert told(webhook) == []


def test_the_suppression_list_is_told():
    webhook = make(["suppression.added", "suppression.removed"])["id"]
    for _ in range(2):
        entry = resend.Suppressions.add({"email": "Bob@x.test"})["id"]
    resend.Suppressions.remove("bob@x.test")
    assert refused(resend.Suppressions.remove, "bob@x.test")[0] == 404
    found = told(webhook)
    for payload, kind in zip(found, [SuppressionAddedEvent, SuppressionRemovedEvent], strict=True):
        check(payload, kind)
        assert (payload["data"]["id"], payload["data"]["email"], payload["data"]["origin"]) == (
            entry, "bob@x.test", "manual",
        )  # fmt: skip


def test_topics_are_told():
    webhook = make(["topic.created", "topic.updated", "topic.deleted"])["id"]
    topic = resend.Topics.create({"name": "News", "default_subscription": "opt_in", "description": "Weekly"})["id"]
    resend.Topics.update(topic, {"name": "Letters"})
    resend.Topics.remove(topic)
    found = told(webhook)
    for payload, kind in zip(found, [TopicCreatedEvent, TopicUpdatedEvent, TopicDeletedEvent], strict=True):
        check(payload, kind)
    assert [(one["data"]["name"], one["data"]["deleted"]) for one in found] == [
        ("News", False), ("Letters", False), ("Letters", True),
    ]  # fmt: skip


def test_scheduled_mail_is_told_once(client, mail):
    webhook = make(["email.scheduled"])["id"]
    body = mail | {"scheduled_at": "in 1 hour", "tags": [{"name": "a", "value": "b"}]}
    headers = {"Idempotency-Key": "once"}
    first = client.post("/emails", json=body, headers=headers).json()
    assert client.post("/emails", json=body, headers=headers).json() == first
    client.post("/emails", json=mail)
    (payload,) = told(webhook)
    check(payload, EmailScheduledEvent)
    assert payload["data"]["email_id"] == first["id"]
    assert payload["data"]["tags"] == {"a": "b"}


def test_another_tenants_webhook_and_one_that_asks_for_something_else_hear_nothing(server, new_caller):
    mine = make(["contact.deleted"])["id"]
    with server.client(new_caller().token) as stranger:
        body = {"endpoint": URL, "events": OF_CONTACTS}
        theirs = stranger.post("/webhooks", json=body).json()["id"]
        resend.Contacts.create({"email": "bob@x.test"})
        assert stranger.get(f"/webhooks/{theirs}/events").json()["data"] == []
    assert told(mine) == []


def test_every_type_that_is_offered_is_one_of_the_sdks_or_ours():
    from typing import get_args

    from resend.webhooks._webhook import WebhookEvent

    assert {str(kind) for kind in EventType} - set(get_args(WebhookEvent)) == {"webhook.disabled"}


def test_the_description_of_the_api_has_the_payload_as_an_object(client):
    document = client.get(str(client.base_url).replace("/v1/", "/openapi.json")).json()
    event = document["components"]["schemas"]["WebhookEventFull"]
    assert json.dumps(event["properties"]["payload"]).count('"object"') == 1


def test_a_list_of_many_events_is_read_page_by_page(place, caller):
    webhook = make()["id"]
    ids = [add_event(place, caller.tenant, webhook) for _ in range(45)]
    began, seen, after = time.monotonic(), [], None
    while True:
        page = Webhooks.list_events(webhook, {"limit": 20} | ({"after": after} if after else {}))
        seen += [row["id"] for row in page["data"]]
        if not page["has_more"]:
            break
        after = seen[-1]
    assert seen == ids[::-1]
    assert time.monotonic() - began < 5
