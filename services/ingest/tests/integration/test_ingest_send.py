"""POST /v1/emails against real servers: what reaches the queues, and every refusal in the error form."""

import http.client
import json
import socket
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from mailwarren.contracts.ids import delivery_id, partition_of
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import OnUnknown, Role, Syntax
from mailwarren.contracts.shards import shard_of


def test_one_publish_reaches_the_send_queue_and_the_tracker_with_the_same_parcel(client, caller, queues, mail):
    answer = client.post("/emails", json=mail | {"html": "<b>{{ not_a_template }}</b>", "metadata": {"order": "7"}})
    assert answer.status_code == 200
    email_id = UUID(answer.json()["id"])
    queue = queues.topology.send_queue(Lane.NORMAL, shard_of("example.test")).name
    [sent] = queues.parcels(queue)
    [recorded] = queues.recorded()
    assert sent == recorded
    assert (sent.tenant, sent.lane, sent.shard, sent.partition, sent.attempt, sent.settle, sent.request_id) == (
        caller.tenant, Lane.NORMAL, shard_of("example.test"), partition_of(email_id), 1, False, None,
    )  # fmt: skip
    [delivery] = sent.deliveries
    assert delivery.id == delivery_id(email_id, "bob@example.test")
    assert (delivery.email_id, delivery.to, delivery.mailbox, delivery.role) == (
        email_id, "bob@example.test", "bob@example.test", Role.TO,
    )  # fmt: skip
    assert delivery.message_id == f"{email_id}@sender.test"
    assert (delivery.metadata, delivery.suppressed) == ({"order": "7"}, False)
    assert (sent.content.sender, sent.content.syntax) == ("Ada <ada@sender.test>", Syntax.LITERAL)
    assert sent.content.html == "<b>{{ not_a_template }}</b>"


def test_recipients_are_grouped_by_shard_and_each_address_has_one_delivery(client, queues, mail):
    tomorrow = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    mail |= {
        "to": ["Bob <bob@example.test>", "carol@gmail.com"],
        "cc": ["BOB@EXAMPLE.test", "dan@gmail.com"],
        "bcc": ["eve@outlook.com"],
        "priority": "high",
        "on_unknown": "hold",
        "expires_at": tomorrow.isoformat(),
    }
    assert client.post("/emails", json=mail).status_code == 200
    parcels = {parcel.shard: parcel for parcel in queues.parcels()}
    assert {shard: [d.to for d in parcel.deliveries] for shard, parcel in parcels.items()} == {
        shard_of("example.test"): ["bob@example.test"],
        "google": ["carol@gmail.com", "dan@gmail.com"],
        "microsoft": ["eve@outlook.com"],
    }
    for parcel in parcels.values():
        assert (parcel.lane, parcel.on_unknown, parcel.expires_at) == (Lane.HIGH, OnUnknown.HOLD, tomorrow.timestamp())
        assert parcel.content.to == ("Bob <bob@example.test>", "carol@gmail.com")
        assert parcel.content.bcc == ("eve@outlook.com",)
    assert parcels["microsoft"].deliveries[0].role is Role.BCC
    assert len(queues.recorded()) == 3


def test_a_suppressed_address_is_accepted_and_marked(client, caller, place, queues, mail):
    place.sql(
        "INSERT INTO suppressions (tenant, address, reason, origin, created_at, expires_at) VALUES "
        "($1, 'gone@example.test', 'invalid_recipient', 'bounce', now(), NULL), "
        "($1, 'back@example.test', 'quota', 'bounce', now(), now() - interval '1 day')",
        caller.tenant,
    )
    mail["to"] = ["Gone@example.test", "back@example.test", "bob@example.test"]
    assert client.post("/emails", json=mail).status_code == 200
    [parcel] = queues.parcels()
    assert {d.to: d.suppressed for d in parcel.deliveries} == {
        "Gone@example.test": True, "back@example.test": False, "bob@example.test": False,
    }  # fmt: skip


def test_the_suppression_list_of_another_tenant_does_not_count(client, new_caller, place, queues, mail):
    place.sql(
        "INSERT INTO suppressions (tenant, address, reason, origin, created_at) VALUES "
        "($1, 'bob@example.test', 'invalid_recipient', 'bounce', now())",
        new_caller().tenant,
    )
    assert client.post("/emails", json=mail).status_code == 200
    assert not queues.parcels()[0].deliveries[0].suppressed


@pytest.mark.parametrize(
    ("change", "status", "name", "words"),
    [
        ({"to": 7}, 422, "validation_error", "`to`"),
        ({"to": ["bob@example.test", 7]}, 422, "validation_error", "`to[1]`"),
        ({"to": []}, 422, "missing_required_field", "`to`"),
        ({"to": ["bob@example.test", "bob"]}, 422, "validation_error", "`to[1]`"),
        ({"to": "team: bob@example.test;"}, 422, "validation_error", "groups"),
        ({"from": "Ada <ada>"}, 422, "validation_error", "`from`"),
        ({"text": None}, 422, "missing_required_field", "`html` or `text`"),
        ({"text": ""}, 422, "missing_required_field", "`html` or `text`"),
        ({"text": "a\x00b"}, 422, "validation_error", "NUL"),
        ({"text": "x" * (512 * 1024 + 1)}, 422, "validation_error", "524288"),
        ({"subject": "Hi\r\nBcc: eve@example.test"}, 422, "validation_error", "`subject`"),
        ({"from": "Ada\r\nBcc: eve@example.test <ada@sender.test>"}, 422, "validation_error", "line break"),
        ({"headers": {"X-A": "b\nBcc: eve@example.test"}}, 422, "validation_error", "`headers.X-A`"),
        ({"headers": {"bcc": "eve@example.test"}}, 422, "validation_error", "use the `bcc` field"),
        ({"headers": {"DKIM-Signature": "x"}}, 422, "validation_error", "`DKIM-Signature`"),
        ({"tags": [{"name": "a b"}]}, 422, "validation_error", "`tags[0].name`"),
        ({"metadata": {"a": 1}}, 422, "validation_error", "`metadata[...]`"),
        ({"priority": "urgent"}, 422, "validation_error", "`priority`"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, 422, "validation_error", "in the past"),
        ({"expires_at": "9999-12-31T23:59:59-14:00"}, 422, "validation_error", "31 days"),
        ({"expires_at": "tomorrow"}, 422, "validation_error", "`expires_at`"),
        ({"expires_at": "2100-01-01T00:00:00"}, 422, "validation_error", "`expires_at`"),
        ({"scheduled_at": "2100-01-01T00:00:00Z"}, 422, "validation_error", "more than 30 days ahead"),
        ({"attachments": [{"content": "aGk="}]}, 422, "validation_error", "no blob store"),
        ({"template": {"id": "x"}}, 422, "validation_error", "no published template with the id or alias `x`"),
        ({"topic_id": "x"}, 422, "validation_error", "Invalid `topic_id` field"),
        ({"topic_id": str(UUID(int=7))}, 422, "validation_error", "there is no topic"),
        ({"colour": "red"}, 422, "validation_error", "`colour`"),
        ({"to": [f"b{n}@example.test" for n in range(51)]}, 422, "validation_error", "50"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_bad_input_is_named_and_nothing_is_published(client, queues, mail, change, status, name, words):
    answer = client.post("/emails", json=mail | change)
    body = answer.json()
    assert (answer.status_code, body["statusCode"], body["name"]) == (status, status, name)
    assert words in body["message"]
    assert set(body) == {"statusCode", "name", "message"}
    assert answer.headers["x-request-id"]
    assert queues.parcels() == queues.recorded() == []


@pytest.mark.parametrize("field", ["from", "to", "subject"])
def test_a_missing_field_is_named(client, mail, field):
    del mail[field]
    body = client.post("/emails", json=mail).json()
    assert body == {"statusCode": 422, "name": "missing_required_field", "message": f"Missing `{field}` field."}


@pytest.mark.parametrize("body", [b"", b"{", b'{"to": "a@b.test",}', b"\xff\xfe", b'{"to": "\\ud800"}', b"nonsense"])
def test_what_is_no_json_is_refused(client, body):
    answer = client.post("/emails", content=body)
    assert (answer.status_code, answer.json()["name"]) == (400, "validation_error")


def test_json_of_another_kind_is_refused(client):
    answer = client.post("/emails", content=b"[1]")
    assert (answer.status_code, answer.json()["name"]) == (422, "validation_error")
    assert "array" in answer.json()["message"]


@pytest.mark.parametrize(
    ("header", "status", "name"),
    [
        (None, 401, "missing_api_key"),
        ("Basic abc", 401, "missing_api_key"),
        ("Bearer", 401, "missing_api_key"),
        ("Bearer mw_nobody", 403, "invalid_api_key"),
    ],
)
def test_a_missing_or_unknown_key(server, mail, header, status, name):
    with server.client(None) as client:
        answer = client.post("/emails", json=mail, headers={"Authorization": header} if header else {})
    assert (answer.status_code, answer.json()["name"]) == (status, name)


def test_a_from_outside_of_the_keys_domains_is_forbidden(server, new_caller, queues, mail):
    caller = new_caller("sending_access", ["other.test"])
    with server.client(caller.token) as client:
        answer = client.post("/emails", json=mail)
        assert (answer.status_code, answer.json()["name"]) == (403, "validation_error")
        assert "sender.test" in answer.json()["message"]
        # Exactly: a key for a domain is none for its subdomains.
        assert client.post("/emails", json=mail | {"from": "a@sub.other.test"}).status_code == 403
        assert client.post("/emails", json=mail | {"from": "a@OTHER.test"}).status_code == 200
    assert len(queues.parcels()) == 1


def test_an_unknown_path_and_a_wrong_method_have_the_error_form(client):
    answer = client.get("/nothing")
    assert (answer.status_code, answer.json()["name"]) == (404, "not_found")
    answer = client.put("/emails", json={})
    assert (answer.status_code, answer.json()["name"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, POST"
    assert answer.headers["x-request-id"]


def test_a_body_over_the_limit_is_refused_and_heard_out(client, server):
    answer = client.post("/emails", content=b"x" * (server.max_body + 1))
    assert (answer.status_code, answer.json()["name"]) == (413, "validation_error")


def test_an_announced_huge_body_is_refused_before_it_is_sent(server, caller):
    place = urlsplit(server.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=10)
    connection.putrequest("POST", "/v1/emails")
    connection.putheader("Authorization", f"Bearer {caller.token}")
    connection.putheader("Content-Length", str(10**10))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["name"]) == (413, "validation_error")
    connection.close()


def test_an_endless_chunked_body_is_cut_off_while_it_streams(server, caller):
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port), timeout=10) as raw:
        head = f"POST /v1/emails HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {caller.token}\r\n"
        raw.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        sent = 0
        with pytest.raises(OSError):  # noqa: PT011, PT012 - reset or broken pipe, when the server has closed
            while sent < 100 * server.max_body:
                raw.sendall(piece)
                sent += 0x10000
    assert sent < 10 * server.max_body


def test_a_request_id_that_could_forge_a_log_line_is_replaced(client, mail):
    answer = client.post("/emails", json=mail, headers={"x-request-id": "a b"})
    assert UUID(answer.headers["x-request-id"])


def test_the_trace_of_a_call_goes_with_its_parcel_and_back_to_the_caller(client, queues, mail):
    given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = client.post("/emails", json=mail, headers={"traceparent": given})
    assert (answer.headers["traceresponse"], answer.headers["x-request-id"]) == (given, given[3:35])
    [recorded] = queues.recorded()
    assert recorded.trace == given


@pytest.mark.parametrize("wrong", [None, "00-1-2-3", f"00-{'0' * 32}-00f067aa0ba902b7-01", "x" * 500])
def test_a_call_without_a_trace_gets_a_new_one_that_is_not_sampled(client, queues, mail, wrong):
    answer = client.post("/emails", json=mail, headers={"traceparent": wrong} if wrong else {})
    _, trace, _, flags = answer.headers["traceresponse"].split("-")
    assert (UUID(trace).hex, flags) == (trace, "00")
    [recorded] = queues.recorded()
    assert recorded.trace == answer.headers["traceresponse"]


def test_also_a_refusal_says_its_trace(client, mail):
    answer = client.post("/emails", json=mail, headers={"authorization": "Bearer nobody"})
    assert answer.status_code in {401, 403}
    assert len(answer.headers["traceresponse"]) == 55
