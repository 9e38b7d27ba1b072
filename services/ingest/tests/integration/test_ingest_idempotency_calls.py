"""Idempotency-Key: replays, conflicts, take-overs after a crash, and the end of 24 hours."""

import threading
from uuid import UUID, uuid4

import msgspec
import pytest

from mailwarren.contracts.ids import keyed_id, nth_id, partition_of
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.idempotency import Claims
from mailwarren.ingest.domain.decoding import canonical
from mailwarren.ingest.domain.idempotency import fingerprint
from mailwarren.ingest.domain.refusal import Refusal


def key(value="k"):
    return {"Idempotency-Key": value}


def abandon(place, caller, body, path="/emails", mode="", lease="-1 second"):
    """What a process leaves behind that died between its claim and its answer."""
    place.sql(
        "INSERT INTO idempotency_keys (tenant, key, base, owner, fingerprint, lease_until, created_at) "
        f"VALUES ($1, 'k', $2, $3, $4, now() + interval '{lease}', now() - interval '1 minute')",
        caller.tenant, keyed_id(caller.tenant, "k"), uuid4(),
        fingerprint(path, mode, canonical(msgspec.json.encode(body))),
    )  # fmt: skip


def test_the_same_call_is_answered_with_the_same_bytes_and_sent_once(client, caller, queues, mail):
    first = client.post("/emails", json=mail, headers=key())
    reordered = dict(reversed(mail.items()))
    again = client.post("/emails", json=reordered, headers=key())
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    [parcel] = queues.parcels()
    email_id = keyed_id(caller.tenant, "k")
    assert (parcel.deliveries[0].email_id, parcel.partition, parcel.settle) == (email_id, partition_of(email_id), True)


def test_a_key_covers_one_path_body_and_mode(client, queues, mail):
    client.post("/emails/batch", json=[mail], headers=key())
    for path, body, more in (
        ("/emails", mail, {}),
        ("/emails/batch", [mail, mail], {}),
        ("/emails/batch", [mail], {"x-batch-validation": "permissive"}),
    ):
        answer = client.post(path, json=body, headers=key() | more)
        assert (answer.status_code, answer.json()["name"]) == (409, "invalid_idempotent_request")
    assert len(queues.parcels()) == 1


def test_keys_of_two_tenants_do_not_meet(client, server, new_caller, queues, mail):
    with server.client(new_caller().token) as other:
        assert client.post("/emails", json=mail, headers=key()).json() != (
            other.post("/emails", json=mail | {"subject": "x"}, headers=key()).json()
        )
    assert len(queues.parcels()) == 2


def test_a_call_in_flight_is_a_conflict(client, caller, place, queues, mail):
    abandon(place, caller, mail, lease="30 seconds")
    answer = client.post("/emails", json=mail, headers=key())
    assert (answer.status_code, answer.json()["name"]) == (409, "concurrent_idempotent_requests")
    assert answer.headers["retry-after"]
    assert queues.parcels() == []


def test_after_a_crash_the_next_call_takes_over_with_the_same_ids_to_be_settled(client, caller, place, queues, mail):
    abandon(place, caller, mail)
    answer = client.post("/emails", json=mail, headers=key())
    email_id = keyed_id(caller.tenant, "k")
    assert (answer.status_code, answer.json()["id"]) == (200, str(email_id))
    [parcel] = queues.parcels()
    assert (parcel.settle, parcel.partition) == (True, partition_of(email_id))
    assert parcel.deliveries[0].message_id == f"{email_id}@sender.test"
    assert client.post("/emails", json=mail, headers=key()).headers["idempotent-replayed"] == "true"
    assert queues.parcels() == []


def test_a_bulk_call_taken_over_repeats_every_row_under_its_id(client, caller, place, queues):
    body = {
        "from": "ada@sender.test", "subject": "x", "text": "x",
        "recipients": [{"to": f"p{n}@example.test"} for n in range(60)],
    }  # fmt: skip
    abandon(place, caller, body, "/emails/bulk")
    answer = client.post("/emails/bulk", json=body, headers=key())
    base = keyed_id(caller.tenant, "k")
    assert answer.json()["id"] == str(base)
    assert [UUID(row["id"]) for row in answer.json()["data"]] == [nth_id(base, n) for n in range(60)]
    assert {parcel.settle for parcel in queues.parcels()} == {True}


def test_a_refused_call_leaves_its_key_free(client, queues, mail):
    bad = mail | {"expires_at": "2001-01-01T00:00:00Z"}
    assert client.post("/emails", json=bad, headers=key()).status_code == 422
    assert client.post("/emails", json=mail, headers=key()).status_code == 200
    assert len(queues.parcels()) == 1


def test_a_key_may_be_used_anew_after_24_hours_and_makes_new_mail(client, caller, place, queues, mail):
    first = client.post("/emails", json=mail, headers=key()).json()["id"]
    place.sql("UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE tenant = $1", caller.tenant)
    place.sql(
        'INSERT INTO emails (id, tenant, created_at, lane, partition, content, sender, subject, "to", cc, bcc, '
        "reply_to, tags, metadata, message_id, on_unknown) VALUES ($1, $2, now() - interval '25 hours', 'normal', 0, "
        "'', '', '', '{}', '{}', '{}', '{}', '[]', '{}', '', 'resend')",
        UUID(first), caller.tenant,
    )  # fmt: skip
    queues.empty()
    answer = client.post("/emails", json=mail | {"subject": "Another"}, headers=key())
    assert answer.status_code == 200
    assert answer.json()["id"] != first
    [parcel] = queues.parcels()
    assert (str(parcel.deliveries[0].email_id), parcel.settle) == (answer.json()["id"], True)


def test_a_bulk_key_used_anew_is_told_from_the_old_call_by_any_of_its_rows(client, caller, place, queues):
    """Also by the last one, when the rows before it were wrong."""
    body = {"from": "ada@sender.test", "subject": "One", "text": "x"}
    rows = [{"to": "nobody"}] * 30 + [{"to": "bob@example.test"}]
    first = client.post("/emails/bulk", json=body | {"recipients": rows}, headers=key()).json()["data"]
    place.sql("UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE tenant = $1", caller.tenant)
    place.sql(
        'INSERT INTO emails (id, tenant, created_at, lane, partition, content, sender, subject, "to", cc, bcc, '
        "reply_to, tags, metadata, message_id, on_unknown) VALUES ($1, $2, now() - interval '25 hours', 'bulk', 0, "
        "'', '', '', '{}', '{}', '{}', '{}', '[]', '{}', '', 'resend')",
        UUID(first[-1]["id"]), caller.tenant,
    )  # fmt: skip
    queues.empty()
    again = client.post("/emails/bulk", json=body | {"subject": "Two", "recipients": rows}, headers=key())
    assert again.json()["data"][-1]["id"] != first[-1]["id"]
    [parcel] = queues.parcels()
    assert parcel.content.subject == "Two"


def test_of_many_calls_at_once_one_sends(server, caller, queues, mail):
    statuses = []

    def call():
        with server.client(caller.token) as client:
            statuses.append(client.post("/emails", json=mail, headers=key()).status_code)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 409}
    assert 200 in statuses
    assert len(queues.parcels()) == 1


async def test_the_holder_of_a_lost_lease_does_not_overwrite_the_answer(place, caller):
    async with Database(place.database_url, 2) as database:
        claims = Claims(database)
        first = await claims.claim(caller.tenant, "k", b"f")
        with pytest.raises(Refusal, match="worked on"):
            await claims.claim(caller.tenant, "k", b"f")
        await claims.release(first)
        second = await claims.claim(caller.tenant, "k", b"f")
        assert (second.base, second.repeated, first.repeated) == (first.base, True, False)
        await claims.answered(first, 200, b"first")
        await claims.answered(second, 200, b"second")
        await claims.forget(first)
        assert (await claims.claim(caller.tenant, "k", b"f")).answer == b"second"
        # Nothing was published by it, but by the call before it perhaps: the record stays.
        third = await claims.claim(caller.tenant, "other", b"f")
        await claims.release(third)
        fourth = await claims.claim(caller.tenant, "other", b"f")
        await claims.forget(fourth)
        assert (await claims.claim(caller.tenant, "other", b"f")).repeated
