"""Scheduled emails: kept, seen, moved, canceled, held, and released once by however many schedulers."""

import asyncio
import base64
import hashlib
import time
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
import resend
from domain_rows import add_domain
from resend.exceptions import ValidationError
from sdk_shapes import check

from mailwarren.contracts.codec import decode_control
from mailwarren.contracts.ids import new_id, partition_of
from mailwarren.ingest.adapters.broker import Broker
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.depths import Depths
from mailwarren.ingest.adapters.releases import Releases
from mailwarren.ingest.adapters.retention import Retention
from mailwarren.ingest.adapters.sending_domains import SendingDomains
from mailwarren.ingest.adapters.suppressions import Suppressions
from mailwarren.ingest.domain.admission import Marks
from mailwarren.ingest.domain.unsubscribe_links import Links
from mailwarren.ingest.release import AT_ONCE, NotTaken, ScheduledMail
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.runtime.tasks import end

OURS = {
    "priority", "metadata", "expires_at", "on_unknown", "cancel_requested_at", "held_at", "scheduled_at", "tags",
    "broadcast_id",
}  # fmt: skip
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def sdk(server, caller, monkeypatch):
    monkeypatch.setattr(resend, "api_url", server.url)
    monkeypatch.setattr(resend, "api_key", caller.token)


@pytest.fixture
def due(place, caller):
    """Puts the tenant's emails at a time before now; what is left of them goes with the test."""

    def move(ago=1.0, **columns):
        sets = "".join(f", {name} = {value}" for name, value in columns.items())
        place.sql(
            f"UPDATE scheduled SET due_at = now() - $2::interval {sets} WHERE tenant = $1",
            caller.tenant, timedelta(seconds=ago),
        )  # fmt: skip

    yield move
    place.sql("DELETE FROM scheduled WHERE tenant = $1", caller.tenant)


@pytest.fixture
def rows(place, caller):
    """The tenant's rows."""
    return lambda: place.sql("SELECT * FROM scheduled WHERE tenant = $1 ORDER BY position", caller.tenant)


@asynccontextmanager
async def scheduler(place, *, amqp_url=None, marks=None, overdue=HOUR):
    """A scheduler's source with connections of its own."""
    link = Link(amqp_url or place.amqp_url, "scheduler-test")
    depths, broker = Depths(link, place.topology, 0.2), Broker(Publisher(link), place.topology)
    async with Database(place.database_url, 3) as database, link:
        if amqp_url is None:
            await asyncio.wait_for(link.wait_up(), 10)
        domains = SendingDomains(database)
        await domains.refresh()
        yield ScheduledMail(
            Releases(database, overdue),
            broker,
            depths,
            marks or Marks(10**6, 10**6),
            Suppressions(database, 4.0),
            domains=domains,
            links=Links(),
        )


def run(place, rounds=1, **options):
    async def work():
        async with scheduler(place, **options) as source:
            for _ in range(rounds):
                await source.release()

    asyncio.run(work())


def test_a_scheduled_email_is_kept_and_seen_at_once(mail, queues, rows):
    now = datetime.now(UTC)
    sent = resend.Emails.send(
        mail | {"scheduled_at": "in 1 hour", "cc": "cy@example.test", "tags": [{"name": "a", "value": "b"}]}
    )
    email = resend.Emails.get(sent["id"])
    check(email, resend.Email, ours=OURS | {"object", "status"}, nulls={"html"})
    assert (email["last_event"], email["subject"], email["text"]) == ("scheduled", "Hello", "Hello, you.")
    assert (email["to"], email["cc"], email["message_id"]) == (
        ["bob@example.test"], ["cy@example.test"], f"<{sent['id']}@sender.test>",
    )  # fmt: skip
    at = datetime.fromisoformat(email["scheduled_at"])
    assert now + HOUR <= at <= now + HOUR + timedelta(seconds=10)
    assert [(one["to"], one["state"]) for one in email["status"]] == [
        ("bob@example.test", "scheduled"), ("cy@example.test", "scheduled"),
    ]  # fmt: skip
    listed = resend.Emails.list()["data"]
    assert [(one["id"], one["last_event"], one["tags"]) for one in listed] == [
        (sent["id"], "scheduled", [{"name": "a", "value": "b"}])
    ]
    assert queues.parcels() == []
    assert [row["attempts"] for row in rows()] == [0]


def test_mail_is_signed_as_its_domain_stands_when_it_is_released(mail, place, caller, queues, due, client):
    resend.Emails.send(mail | {"scheduled_at": "in 1 hour"})
    bulk = {"from": mail["from"], "subject": "s", "text": "t", "recipients": [{"to": "a@b.test"}, {"to": "a@c.test"}]}
    assert client.post("/emails/bulk", json=bulk | {"scheduled_at": "in 1 hour"}).status_code == 202
    add_domain(place, caller.tenant, "sender.test", tls="enforced")
    due()
    run(place)
    parcels = queues.parcels()
    assert sum(len(one.deliveries) for one in parcels) == 3
    assert {(one.content.signing, one.content.tls) for one in parcels} == {("sender.test", "required")}


async def test_rescheduled_and_canceled_through_the_async_sdk(mail, client):
    sent = await resend.Emails.send_async(mail | {"scheduled_at": "tomorrow at 9am"})
    moved = await resend.Emails.update_async({"id": sent["id"], "scheduled_at": "in 2 days"})
    check(moved, resend.Emails.UpdateEmailResponse)
    assert (moved["id"], moved["object"]) == (sent["id"], "email")
    at = datetime.fromisoformat((await resend.Emails.get_async(sent["id"]))["scheduled_at"])
    assert timedelta(days=2) - (at - datetime.now(UTC)) < timedelta(minutes=1)
    canceled = await resend.Emails.cancel_async(sent["id"])
    check(canceled, resend.Emails.CancelScheduledEmailResponse)
    email = await resend.Emails.get_async(sent["id"])
    assert (email["last_event"], email["status"][0]["state"]) == ("canceled", "canceled")
    entries = client.get(f"/emails/{sent['id']}/timeline").json()["data"]
    assert [entry["kind"] for entry in entries] == ["scheduled", "rescheduled", "canceled"]
    with pytest.raises(ValidationError, match="cannot be rescheduled any more: it was canceled"):
        await resend.Emails.update_async({"id": sent["id"], "scheduled_at": "in 2 days"})
    with pytest.raises(ValidationError, match="cannot be canceled any more"):
        await resend.Emails.cancel_async(sent["id"])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"scheduled_at": "soon"}, "It is an ISO 8601 time such as"),
        ({"scheduled_at": "in 31 days"}, "more than 30 days ahead"),
        ({"scheduled_at": "2020-01-01T00:00:00Z"}, "in the past"),
        ({"scheduled_at": 5}, "Invalid `scheduled_at` field: expected `str"),
        ({"scheduled_at": "in 2 hours", "expires_at": (datetime.now(UTC) + HOUR).isoformat()}, "would expire before"),
    ],
)
def test_a_time_that_cannot_be_is_refused_by_name(client, mail, fields, says, rows):
    answer = client.post("/emails", json=mail | fields)
    assert (answer.status_code, says in answer.json()["message"]) == (422, True), answer.text
    assert rows() == []


def test_a_batch_mixes_both_and_a_wrong_time_is_an_error_of_its_place(mail, queues, rows):
    later = mail | {"scheduled_at": "in 1 hour"}
    answer = resend.Batch.send([mail, later, later | {"scheduled_at": "x"}], {"batch_validation": "permissive"})
    assert [error["index"] for error in answer["errors"]] == [2]
    [parcel] = queues.parcels()
    assert [str(parcel.deliveries[0].email_id), str(rows()[0]["id"])] == [row["id"] for row in answer["data"]]
    with pytest.raises(ValidationError):
        resend.Batch.send([mail, later | {"scheduled_at": "x"}])
    assert queues.parcels() == []
    assert len(rows()) == 1


def test_a_repeated_keyed_call_keeps_one_email_even_after_its_day(mail, rows, place, caller):
    later = mail | {"scheduled_at": "in 20 days"}
    first = resend.Emails.send(later, {"idempotency_key": "k"})
    assert resend.Emails.send(later, {"idempotency_key": "k"})["id"] == first["id"]
    # Taken over: the answer was lost, the row was not.
    place.sql("UPDATE idempotency_keys SET answer = NULL, lease_until = now() WHERE tenant = $1", caller.tenant)
    assert resend.Emails.send(later, {"idempotency_key": "k"})["id"] == first["id"]
    assert len(rows()) == 1
    # A day later the key is free, and the email still waits: another has another id.
    place.sql("UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE tenant = $1", caller.tenant)
    place.sql("UPDATE scheduled SET created_at = now() - interval '25 hours' WHERE tenant = $1", caller.tenant)
    assert resend.Emails.send(later, {"idempotency_key": "k"})["id"] != first["id"]
    assert len(rows()) == 2


def test_a_bulk_call_is_released_in_common_parcels_with_its_creation_time(client, queues, place, due, rows):
    body = {
        "from": "ada@sender.test", "subject": "Hi {{ name }}", "text": "{{ name }}", "scheduled_at": "in 1 hour",
        "recipients": [{"to": f"u{n}@one.test", "variables": {"name": f"N{n}"}} for n in range(120)],
    }  # fmt: skip
    answer = client.post("/emails/bulk", json=body)
    assert answer.status_code == 202, answer.text
    shown = client.get(f"/emails/{answer.json()['data'][7]['id']}").json()
    assert (shown["subject"], shown["text"], shown["last_event"], shown["to"]) == (
        "Hi N7", "N7", "scheduled", ["u7@one.test"],
    )  # fmt: skip
    run(place)
    assert queues.parcels() == []
    created = rows()[0]["created_at"].timestamp()
    due()
    run(place)
    parcels = queues.parcels()
    assert sorted(len(parcel.deliveries) for parcel in parcels) == [40, 40, 40]
    assert {(p.settle, p.partition, str(p.request_id)) for p in parcels} == {
        (True, partition_of(UUID(answer.json()["id"])), answer.json()["id"])
    }
    assert {p.created_at for p in parcels} == {created}
    assert all(p.accepted_at > created for p in parcels)
    assert {str(d.email_id) for p in parcels for d in p.deliveries} == {row["id"] for row in answer.json()["data"]}
    assert {row["state"] for row in rows()} == {"released"}
    assert len(queues.recorded()) == 3


def test_two_schedulers_release_each_email_once(client, mail, queues, place, due, rows):
    for _ in range(3):
        client.post("/emails/batch", json=[mail | {"scheduled_at": "in 1 hour"}] * 100)
    due()

    async def both():
        async with scheduler(place) as one, scheduler(place) as other:
            await asyncio.gather(one.release(), other.release(), one.release(), other.release())

    asyncio.run(both())
    found = Counter(d.email_id for p in queues.parcels() for d in p.deliveries)
    assert set(found.values()) == {1}
    assert set(found) == {row["id"] for row in rows()}
    assert len(found) == 300


def test_the_address_was_suppressed_in_between(mail, queues, place, caller, due):
    resend.Emails.send(mail | {"scheduled_at": "in 1 hour"})
    place.sql(
        "INSERT INTO suppressions (tenant, address, reason, origin, created_at) VALUES "
        "($1, 'bob@example.test', 'invalid_recipient', 'bounce', now())",
        caller.tenant,
    )
    due()
    run(place)
    assert [d.suppressed for p in queues.parcels() for d in p.deliveries] == [True]


def test_a_release_cut_off_before_its_commit_is_repeated_when_its_lease_is_over(mail, queues, place, due, rows):
    sent = resend.Emails.send(mail | {"scheduled_at": "in 1 hour"})
    due()

    async def die(self, rows):  # between the confirm and the commit
        raise asyncio.CancelledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Releases, "released", die)
        with pytest.raises(asyncio.CancelledError):
            run(place)
    run(place)
    [first] = queues.parcels()
    # While it is not known whether the broker has it, it cannot be moved, and a cancel is told to the senders.
    with pytest.raises(ValidationError, match="is being sent, or was"):
        resend.Emails.update({"id": sent["id"], "scheduled_at": "in 1 day"})
    due(lease_until="now()")
    run(place)
    [second] = queues.parcels()
    assert (first.settle, second.settle) == (True, True)
    assert first.id != second.id
    assert first.partition == second.partition
    assert first.deliveries[0].id == second.deliveries[0].id
    assert [(row["state"], row["attempts"]) for row in rows()] == [("released", 2)]


def test_a_cancel_of_what_may_be_in_the_broker_reaches_the_senders(mail, queues, place, due, rows):
    sent = resend.Emails.send(mail | {"scheduled_at": "in 1 hour"})
    due(attempts="1", lease_until="now() + interval '30 seconds'")
    resend.Emails.cancel(sent["id"])
    assert [row["state"] for row in rows()] == ["canceled"]
    for message in queues.follow(queues.topology.control_log_queue.name):
        body = message.body if isinstance(message.body, bytes) else message.body.encode()
        if str(getattr(decode_control(body, message.headers), "email_id", None)) == sent["id"]:
            break
    due(lease_until="NULL")
    run(place)
    assert queues.parcels() == []


def test_what_is_found_long_after_its_time_is_held_until_somebody_decides(client, mail, queues, place, due, rows):
    sent = [resend.Emails.send(mail | {"scheduled_at": "in 1 hour"})["id"] for _ in range(3)]
    due(ago=7200)
    run(place)
    assert queues.parcels() == []
    email = resend.Emails.get(sent[0])
    assert (email["last_event"], email["held_at"] is not None) == ("scheduled", True)
    held = client.get("/scheduled?state=held&limit=2").json()
    assert held["has_more"]
    rest = client.get(f"/scheduled?state=held&after={held['data'][-1]['id']}").json()
    assert {one["id"] for one in held["data"] + rest["data"]} == set(sent)
    assert {one["state"] for one in held["data"] + rest["data"]} == {"held"}
    assert client.get("/scheduled?state=scheduled").json()["data"] == []
    assert client.post(f"/emails/{sent[0]}/release").json() == {"object": "email", "id": sent[0]}
    resend.Emails.cancel(sent[1])
    resend.Emails.update({"id": sent[2], "scheduled_at": "in 1 hour"})
    run(place)
    assert [str(d.email_id) for p in queues.parcels() for d in p.deliveries] == [sent[0]]
    assert {str(row["id"]): row["state"] for row in rows()} == dict(
        zip(sent, ("released", "canceled", "scheduled"), strict=True)
    )
    assert client.post(f"/emails/{sent[2]}/release").status_code == 422
    assert client.post(f"/emails/{new_id()}/release").status_code == 404


def test_what_waits_is_counted(client, place, due):
    def counts():
        async def work():
            async with Database(place.database_url, 1) as database:
                return await Releases(database, HOUR).states()

        return asyncio.run(work())

    before = counts()
    recipients = [{"to": f"u{n}@one.test"} for n in range(3)]
    body = {"from": "a@sender.test", "subject": "x", "text": "x", "scheduled_at": "in 1 hour", "recipients": recipients}
    client.post("/emails/bulk", json=body).raise_for_status()
    waiting = counts()
    assert (waiting.waiting - before.waiting, waiting.held) == (3, before.held)
    assert 0 < waiting.next_due <= time.time() + HOUR.total_seconds()
    due(ago=120)
    assert counts().late >= 120
    due(state="'held'")
    held = counts()
    assert (held.waiting, held.held - before.held) == (before.waiting, 3)


def test_without_room_nothing_is_released_and_nothing_is_lost(mail, queues, place, due, rows):
    resend.Emails.send(mail | {"scheduled_at": "in 1 hour"})
    due()

    async def work():
        async with scheduler(place, marks=Marks(-1, 10**6)) as source:
            follow = asyncio.create_task(source._depths.follow())
            async with asyncio.timeout(10):
                while source._depths.topology_trouble:
                    await asyncio.sleep(0.05)
            await source.release()
            await end([follow])

    asyncio.run(work())
    assert queues.parcels() == []
    assert [(row["state"], row["attempts"]) for row in rows()] == [("scheduled", 0)]
    due(lease_until="NULL")
    run(place)
    assert len(queues.parcels()) == 1


def test_without_the_broker_it_stays_due(mail, queues, place, due, rows):
    resend.Emails.send(mail | {"scheduled_at": "in 1 hour"})
    due()
    with pytest.raises(NotTaken):
        run(place, amqp_url="amqp://guest:guest@127.0.0.1:1/%2F")
    assert [(row["state"], row["attempts"]) for row in rows()] == [("scheduled", 0)]


def test_pages_go_over_the_ledger_and_the_schedule_alike(client, mail, place, caller):
    ids = [resend.Emails.send(mail | {"scheduled_at": "in 1 hour"})["id"] for _ in range(5)]
    place.sql(
        'INSERT INTO emails (id, tenant, created_at, lane, partition, content, sender, subject, "to", cc, bcc, '
        "reply_to, tags, metadata, message_id, on_unknown) SELECT id, tenant, created_at, lane, 1, '\\x00', "
        "'a@sender.test', 'x', '{}', '{}', '{}', '{}', '[]', '{}', 'm', 'resend' FROM scheduled "
        "WHERE tenant = $1 AND id = ANY($2::uuid[])",
        caller.tenant, ids[1:3],
    )  # fmt: skip
    place.sql("UPDATE scheduled SET state = 'released' WHERE id = $1", ids[1])
    found, after = [], ""
    while True:
        page = client.get(f"/emails?limit=2{after}").json()
        found += [row["id"] for row in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after={found[-1]}"
    assert found == ids[::-1]
    back = client.get(f"/emails?limit=3&before={ids[0]}").json()
    assert [row["id"] for row in back["data"]] == ids[3:0:-1]


def test_another_tenants_email_does_not_exist(client, mail, server, new_caller):
    sent = resend.Emails.send(mail | {"scheduled_at": "in 1 hour"})["id"]
    with server.client(new_caller().token) as other:
        assert other.get(f"/emails/{sent}").status_code == 404
        assert other.patch(f"/emails/{sent}", json={"scheduled_at": "in 1 hour"}).status_code == 404
        assert other.post(f"/emails/{sent}/cancel").status_code == 404
        assert other.post(f"/emails/{sent}/release").status_code == 404
        assert other.get("/scheduled").json()["data"] == []
        assert other.get(f"/scheduled?after={sent}").status_code == 422


@pytest.fixture(scope="module")
def with_files(place, tmp_path_factory):
    """An API with a blob store."""
    from conftest import Server

    folder = tmp_path_factory.mktemp("blobs").as_uri()
    running = Server(place.settings(blob_url=folder, internal_token="internal-token-of-a-test"))
    yield running
    running.stop()


def test_a_scheduled_email_has_its_attachments_when_it_is_released(with_files, caller, mail, place, due, queues):
    files = [{"filename": "a.txt", "content": base64.b64encode(b"octets").decode()}]
    body = mail | {"scheduled_at": "in 1 hour", "attachments": files}
    with with_files.client(caller.token) as client:
        key = {"Idempotency-Key": str(new_id())}
        sent, again = (client.post("/emails", json=body, headers=key).json()["id"] for _ in range(2))
        assert sent == again
        [file] = client.get(f"/emails/{sent}/attachments").json()["data"]
        assert httpx.get(file["download_url"]).content == b"octets"
        at = f"/emails/{sent}/attachments/{file['id']}"
        assert client.delete(at).status_code == 422
        due()
        run(place)
        [parcel] = queues.parcels()
        [found] = parcel.content.attachments
        assert (found.filename, found.size, found.digest) == ("a.txt", 6, hashlib.sha256(b"octets").hexdigest())
        assert client.delete(at).status_code == 422


def test_attachments_of_a_canceled_email_can_be_deleted(with_files, caller, mail):
    files = [{"filename": "a.txt", "content": base64.b64encode(b"octets").decode()}]
    with with_files.client(caller.token) as client:
        sent = client.post("/emails", json=mail | {"scheduled_at": "in 1 hour", "attachments": files}).json()["id"]
        [file] = client.get(f"/emails/{sent}/attachments").json()["data"]
        assert client.post(f"/emails/{sent}/cancel").status_code == 200
        assert client.delete(f"/emails/{sent}/attachments/{file['id']}").json()["deleted"] is True


def test_what_was_released_is_forgotten_in_steps(mail, place, caller, due, queues, rows):
    resend.Emails.send(mail | {"scheduled_at": "in 1 hour"})
    due()
    run(place)

    async def retention(days):
        async with Database(place.database_url, 1) as database:
            steps = Retention(database, 1000)
            await steps.scheduled_mail()
            await steps.scheduled(days)
            await steps.scheduled_contents()

    def contents():
        return place.sql("SELECT count(*) FROM scheduled_contents WHERE tenant = $1", caller.tenant)[0][0]

    asyncio.run(retention(30))
    assert (len(rows()), contents(), rows()[0]["mail"] is None) == (1, 1, False)
    place.sql("UPDATE scheduled SET ended_at = now() - interval '4 days' WHERE tenant = $1", caller.tenant)
    place.sql("UPDATE scheduled_contents SET created_at = now() - interval '4 days' WHERE tenant = $1", caller.tenant)
    asyncio.run(retention(30))
    assert (len(rows()), contents(), rows()[0]["mail"]) == (1, 0, None)
    asyncio.run(retention(3))
    assert rows() == []


def test_a_batch_is_as_large_as_it_is_said_to_be(client, mail, queues, place, due, rows):
    recipients = [{"to": f"u{n}@one.test"} for n in range(AT_ONCE + 1)]
    body = {"from": "a@sender.test", "subject": "x", "text": "x", "scheduled_at": "in 1 hour", "recipients": recipients}
    client.post("/emails/bulk", json=body)
    due()
    run(place)
    assert Counter(row["state"] for row in rows()) == {"released": AT_ONCE, "scheduled": 1}
