"""Reads and cancels: rows as the tracker writes them, shown as the SDK expects them."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import resend
from sdk_shapes import check

from mailwarren.contracts.codec import decode_control
from mailwarren.contracts.events import Cancel
from mailwarren.contracts.ids import delivery_id, new_id


@pytest.fixture
def ledger(place, caller):
    return Ledger(place, caller.tenant)


MORE = {
    "scheduled_at", "held_at", "tags", "priority", "metadata", "expires_at", "on_unknown", "cancel_requested_at",
    "broadcast_id",
}  # fmt: skip
"""Fields of an email that the SDK's type leaves out, though Resend answers with the first two; the rest is ours."""


class Ledger:
    """Rows in the tracker's tables."""

    def __init__(self, place, tenant):
        self.place, self.tenant = place, tenant
        self.now = datetime.now(UTC)

    def email(self, *states, ago=0, syntax="literal", variables=None, tags="[]", **content):
        email_id = new_id()
        digest = email_id.bytes
        self.place.sql(
            "INSERT INTO contents (digest, tenant, sender, subject, html, text, headers, syntax, first_seen) "
            "VALUES ($1, $2, 'ada@sender.test', 'Hello', $3, $4, '{}', $5, now())",
            digest, self.tenant, content.get("html"), content.get("text", "Hi"), syntax,
        )  # fmt: skip
        self.place.sql(
            'INSERT INTO emails (id, tenant, created_at, lane, partition, content, sender, subject, "to", cc, bcc, '
            "reply_to, tags, metadata, variables, message_id, on_unknown) VALUES ($1, $2, $3, 'high', 5, $4, "
            "'Ada <ada@sender.test>', $5, $6, '{}', '{}', '{desk@sender.test}', $7, '{\"order\": \"7\"}', $8, $9, "
            "'resend')",
            email_id, self.tenant, self.now - timedelta(seconds=ago), digest, content.get("subject", "Hello"),
            [f"p{n}@example.test" for n in range(len(states))], tags, variables, f"{email_id}@sender.test",
        )  # fmt: skip
        for number, state in enumerate(states):
            self.delivery(email_id, f"p{number}@example.test", state)
        return email_id

    def delivery(self, email_id, address, state):
        ended = None if state in {"accepted", "deferred", "parked", "unconfirmed"} else self.now
        self.place.sql(
            "INSERT INTO deliveries (id, email_id, tenant, address, role, lane, state, attempt, accepted_at, "
            "updated_at, ended_at, reply_code, reply_enhanced, reply_text, reply_command, host) VALUES "
            "($1, $2, $3, $4, 'to', 'high', $5, 1, $6, $6, $7, $8, '4.2.1', 'try later', 'rcpt', 'mx.test:25')",
            delivery_id(email_id, address), email_id, self.tenant, address, state, self.now, ended,
            None if state == "accepted" else 450,
        )  # fmt: skip

    def event(self, email_id, address, kind, seconds, attempt=1):
        self.place.sql(
            "INSERT INTO events (at, id, delivery_id, email_id, tenant, kind, attempt, reply_code, reply_text, "
            "duration) VALUES ($1, $2, $3, $4, $5, $6, $7, 450, 'try later', 0.25)",
            self.now + timedelta(seconds=seconds), new_id(), delivery_id(email_id, address), email_id, self.tenant,
            kind, attempt,
        )  # fmt: skip


@pytest.fixture(autouse=True)
def sdk(server, caller, monkeypatch):
    monkeypatch.setattr(resend, "api_url", server.url)
    monkeypatch.setattr(resend, "api_key", caller.token)


def test_an_email_is_shown_as_the_sdk_types_it(ledger):
    email_id = ledger.email("delivered", "deferred", html="<b>x</b>", tags='[{"name": "a", "value": "b"}]')
    email = resend.Emails.get(str(email_id))
    check(email, resend.Email, ours={"object", "status", *MORE})
    assert (email["object"], email["id"], email["message_id"]) == (
        "email", str(email_id), f"<{email_id}@sender.test>",
    )  # fmt: skip
    assert (email["from"], email["to"]) == ("Ada <ada@sender.test>", ["p0@example.test", "p1@example.test"])
    assert (email["subject"], email["html"], email["text"]) == ("Hello", "<b>x</b>", "Hi")
    assert (email["cc"], email["bcc"], email["reply_to"]) == ([], [], ["desk@sender.test"])
    assert email["tags"] == [{"name": "a", "value": "b"}]
    assert datetime.fromisoformat(email["created_at"]) == ledger.now
    assert email["last_event"] == "delivery_delayed"
    assert (email["priority"], email["metadata"]) == ("high", {"order": "7"})
    assert [(item["to"], item["state"]) for item in email["status"]] == [
        ("p0@example.test", "delivered"), ("p1@example.test", "deferred"),
    ]  # fmt: skip
    assert email["status"][1]["reply"]["code"] == 450


async def test_a_list_and_a_cancel_are_as_the_sdk_types_them(ledger):
    email_id = str(ledger.email("deferred"))
    more = {f"data.{name}" for name in MORE}
    # The type has both as text; Resend's lists leave them null as ours do.
    for listed in (resend.Emails.list(), await resend.Emails.list_async({"limit": 1})):
        check(listed, resend.Emails.ListResponse, ours=more, nulls={"data.html", "data.text"})
    check(resend.Emails.cancel(email_id), resend.Emails.CancelScheduledEmailResponse)
    check(await resend.Emails.cancel_async(email_id), resend.Emails.CancelScheduledEmailResponse)


def test_a_bulk_email_is_shown_rendered(ledger):
    email_id = ledger.email(
        "delivered", syntax="template", variables='{"name": "<Bo>"}', subject="Hi {{ name }}", html="<i>{{ name }}</i>",
        text="{{ broken",
    )  # fmt: skip
    email = resend.Emails.get(str(email_id))
    assert (email["subject"], email["html"], email["text"]) == ("Hi <Bo>", "<i>&lt;Bo&gt;</i>", "{{ broken")


def test_a_read_right_after_a_write_waits_for_the_tracker(ledger, place, start, monkeypatch):
    monkeypatch.setattr(resend, "api_url", start(read_wait=5).url)
    email_id = ledger.email("accepted")
    row = place.sql("SELECT * FROM emails WHERE id = $1", email_id)[0]
    place.sql("DELETE FROM emails WHERE id = $1", email_id)
    marks = ", ".join(f"${n}" for n in range(1, len(row) + 1))
    columns = ", ".join(f'"{name}"' for name in row.keys())  # noqa: SIM118 - a Record
    timer = threading.Timer(0.3, lambda: place.sql(f"INSERT INTO emails ({columns}) VALUES ({marks})", *row.values()))
    began = time.monotonic()
    timer.start()
    assert resend.Emails.get(str(email_id))["id"] == str(email_id)
    assert time.monotonic() - began > 0.25
    timer.join()


def test_an_unknown_id_is_404_after_the_wait(client, server):
    start = time.monotonic()
    assert client.get(f"/emails/{new_id()}").status_code == 404
    assert server.read_wait <= time.monotonic() - start < server.read_wait + 3
    assert client.get("/emails/7").status_code == 422


def test_another_tenants_email_does_not_exist(ledger, server, new_caller):
    email_id = ledger.email("delivered")
    with server.client(new_caller().token) as other:
        for path in ("", "/timeline"):
            assert other.get(f"/emails/{email_id}{path}").status_code == 404
        assert other.post(f"/emails/{email_id}/cancel").status_code == 404
        assert other.get("/emails").json()["data"] == []
        assert other.get(f"/emails?after={email_id}").status_code == 422


def test_pages_go_through_everything_once_in_both_directions(ledger):
    # Several of the same instant: the id decides.
    made = [ledger.email("delivered", ago=n // 3) for n in range(10)]
    first = resend.Emails.list({"limit": 4})
    assert (first["object"], first["has_more"], len(first["data"])) == ("list", True, 4)
    assert first["data"][0]["last_event"] == "delivered"
    second = resend.Emails.list({"limit": 4, "after": first["data"][-1]["id"]})
    third = resend.Emails.list({"limit": 4, "after": second["data"][-1]["id"]})
    assert (second["has_more"], third["has_more"]) == (True, False)
    seen = [email["id"] for page in (first, second, third) for email in page["data"]]
    order = sorted(made, key=lambda ident: (-(made.index(ident) // 3), ident), reverse=True)
    assert seen == [str(ident) for ident in order]
    back = resend.Emails.list({"limit": 4, "before": third["data"][0]["id"]})
    assert [email["id"] for email in back["data"]] == seen[4:8]
    assert back["has_more"] is True
    top = resend.Emails.list({"limit": 4, "before": seen[2]})
    assert ([email["id"] for email in top["data"]], top["has_more"]) == (seen[:2], False)


async def test_async_reads(ledger):
    email_id = ledger.email("delivered")
    assert (await resend.Emails.get_async(str(email_id)))["id"] == str(email_id)
    assert len((await resend.Emails.list_async())["data"]) == 1


def test_the_timeline_has_every_attempt(ledger, client):
    email_id = ledger.email("delivered")
    ledger.event(email_id, "p0@example.test", "delivered", 9, attempt=2)
    ledger.event(email_id, "p0@example.test", "deferred", 3)
    body = client.get(f"/emails/{email_id}/timeline").json()
    assert (body["object"], body["id"]) == ("timeline", str(email_id))
    assert body["trace_id"] is None, "recorded by a tracker of the version before"
    assert [(entry["kind"], entry["attempt"], entry["to"]) for entry in body["data"]] == [
        ("accepted", 0, "p0@example.test"), ("deferred", 1, "p0@example.test"), ("delivered", 2, "p0@example.test"),
    ]  # fmt: skip
    assert body["data"][1]["reply"]["text"] == "try later"
    assert body["data"][1]["duration"] == 0.25


def test_a_cancel_reaches_the_control_log_and_the_emails_partition(ledger, queues):
    email_id = ledger.email("delivered", "deferred")
    partition = queues.topology.events_queue(5).name
    queues.channel.queue_purge(partition)
    assert resend.Emails.cancel(str(email_id))["id"] == str(email_id)
    for queue in (partition, queues.topology.control_log_queue.name):
        cancel = next(
            found
            for found in map(_control, queues.follow(queue))
            if isinstance(found, Cancel) and found.email_id == email_id
        )
        assert cancel.tenant == ledger.tenant


def _control(message):
    return decode_control(message.body if isinstance(message.body, bytes) else message.body.encode(), message.headers)


@pytest.mark.parametrize("states", [("delivered",), ("bounced", "canceled", "suppressed")])
def test_what_has_ended_cannot_be_canceled(ledger, client, states):
    answer = client.post(f"/emails/{ledger.email(*states)}/cancel")
    assert (answer.status_code, answer.json()["name"]) == (422, "validation_error")
    assert states[0] in answer.json()["message"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"scheduled_at":"in 1 hour"}', "it was not scheduled"),  # resend-node 6.38.0
        ('{"id":"ID","scheduled_at":"in 1 hour"}\n', "it was not scheduled"),  # resend-go
        ('{"id":"49a3999c-0ce1-4ea6-ab68-afcd6dc2e794","scheduled_at":"in 1 hour"}', "not the id of the path"),
        ("{}", "Missing `scheduled_at` field"),  # resend-rust without a time
    ],
)
def test_an_email_that_was_not_scheduled_cannot_be_rescheduled(ledger, client, body, says):
    headers = {"Content-Type": "application/json"}
    ident = ledger.email("accepted")
    answer = client.patch(f"/emails/{ident}", content=body.replace("ID", str(ident)), headers=headers)
    assert (answer.status_code, says in answer.json()["message"]) == (422, True), answer.text
    if body.startswith('{"scheduled_at"'):
        assert client.patch(f"/emails/{new_id()}", content=body, headers=headers).status_code == 404


def test_a_row_that_we_cannot_show_is_a_500_with_the_request_id(ledger, client):
    email_id = ledger.email("delivered", tags="7")
    answer = client.get(f"/emails/{email_id}", headers={"x-request-id": "mine-1"})
    assert (answer.status_code, answer.json()["name"]) == (500, "application_error")
    assert "mine-1" in answer.json()["message"]
    assert answer.headers["x-request-id"] == "mine-1"


def test_query_parameters_are_checked(client, caller):
    for query in ("limit=0", "limit=101", "limit=x", "after=x", f"after={caller.key}&before={caller.key}", "page=2"):
        answer = client.get(f"/emails?{query}")
        assert (answer.status_code, answer.json()["name"]) == (422, "invalid_parameter"), query


def test_the_openapi_document_describes_bodies_and_answers(server, client):
    document = json.loads(client.get(f"{server.root}/openapi.json").content)
    body = document["paths"]["/v1/emails"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/EmailBody"}
    assert client.get(f"{server.root}/docs").status_code == 200
    assert UUID(client.get(server.root).headers["x-request-id"])


def test_an_expiry_beyond_all_dates_hides_nothing(client, ledger, place):
    email_id = ledger.email("delivered")
    place.sql("UPDATE emails SET expires_at = '10000-01-01 13:59:59Z' WHERE id = $1", email_id)
    [shown] = client.get("/emails").json()["data"]
    assert (shown["id"], shown["expires_at"]) == (str(email_id), "9999-12-31T00:00:00Z")
    assert client.get(f"/emails/{email_id}").json()["expires_at"] == "9999-12-31T00:00:00Z"
