"""What a batch records is written for the webhooks in the same transaction, once."""

import time

import msgspec
import pytest
from msgspec.structs import replace

from mailwarren.contracts.events import Kind
from mailwarren.contracts.parcel import Mark, Wait
from mailwarren.contracts.payloads import payload_of
from mailwarren.contracts.reply import Reply
from mailwarren.contracts.testing import TENANT, a_content, a_parcel, an_attempt, an_event
from mailwarren.contracts.webhooks import EventType
from mailwarren.store.states import State
from mailwarren.tracker.adapters import webhook_outbox
from mailwarren.tracker.adapters.partitions import Partitions
from mailwarren.tracker.adapters.store import PostgresLedger
from mailwarren.tracker.adapters.unconfirmed import end_unconfirmed
from mailwarren.tracker.adapters.webhook_outbox import WebhookOutbox
from mailwarren.tracker.adapters.webhook_queue import claim
from mailwarren.tracker.domain.read import Source
from mailwarren.tracker.domain.suppression import FULL, FULL_TIMES
from mailwarren.tracker.ports import Refused

pytestmark = pytest.mark.postgres
URL = "https://receiver.example.test/hook"


async def rows(database):
    found = await database.fetch("SELECT * FROM webhook_deliveries ORDER BY id")
    return [dict(row) | {"data": msgspec.json.decode(row["data"])} for row in found]


async def test_acceptances_and_outcomes_are_told_once_however_often_they_come(ledger, hooks, database, inbound):
    endpoint = await hooks.add(URL)
    parcel = a_parcel(to=["a@x.test", "b@x.test"])
    works = [inbound.parcel(parcel), inbound.events(an_event(parcel), an_event(parcel, Kind.BOUNCED, 1))]
    for _ in range(3):
        await ledger.record(works)
    found = await rows(database)
    told = [(row["kind"], row["data"]["to"]) for row in found]
    assert sorted(told[:2]) == [("email.sent", ["a@x.test"]), ("email.sent", ["b@x.test"])]
    assert told[2:] == [("email.delivered", ["a@x.test"]), ("email.bounced", ["b@x.test"])]
    assert {(row["endpoint"], row["state"], row["attempts"], row["tenant"]) for row in found} == {
        (endpoint, "pending", 0, TENANT)
    }
    assert all(row["due_at"] is not None and row["ended_at"] is None for row in found)


async def test_a_batch_that_is_refused_tells_nothing(ledger, hooks, database, inbound):
    await hooks.add(URL)
    parcel = a_parcel()
    with pytest.raises(Refused):
        await ledger.record([inbound.parcel(parcel), inbound.events(an_event(parcel, reason="a NUL: \0"))])
    assert await rows(database) == []


async def test_a_batch_that_breaks_off_tells_with_its_repetition(engine, hooks, database, inbound, monkeypatch):
    """The rows are written and the connection breaks before the commit: there is nothing, until it is repeated."""
    await hooks.add(URL)
    ledger = PostgresLedger(engine, Partitions(30))
    write = WebhookOutbox.write

    async def broken(self, connection, recorded):
        await write(self, connection, recorded)
        assert await connection.fetchval("SELECT count(*) FROM webhook_deliveries") == 1
        monkeypatch.undo()
        raise ConnectionError("cut")

    monkeypatch.setattr(WebhookOutbox, "write", broken)
    work = inbound.parcel(a_parcel())
    with pytest.raises(Exception, match="cut"):
        await ledger.record([work])
    assert await rows(database) == []
    await ledger.record([work])
    assert len(await rows(database)) == 1
    await ledger.close()


async def test_only_enabled_endpoints_that_ask_for_it_are_told(ledger, hooks, database, inbound):
    wanting = await hooks.add(URL, ["email.delivered"])
    await hooks.add(URL, ["email.bounced"])
    off, given_up, again = [await hooks.add(URL) for _ in range(3)]
    await database.execute("UPDATE webhooks SET status = 'disabled' WHERE id = $1", off)
    for ident, when in ((given_up, "now()"), (again, "now() - interval '1 day'")):
        await database.execute(
            f"INSERT INTO webhook_health (tenant, endpoint, disabled_at) VALUES ($1, $2, {when})", TENANT, ident
        )
    parcel = a_parcel()
    await ledger.record([inbound.parcel(parcel), inbound.events(an_event(parcel))])
    found = await rows(database)
    assert sorted((row["endpoint"], row["kind"]) for row in found) == sorted(
        [(wanting, "email.delivered"), (again, "email.delivered"), (again, "email.sent")]
    )
    assert len({row["id"] for row in found}) == 2


async def test_a_deferral_and_a_suppression_are_told(ledger, hooks, database, inbound):
    await hooks.add(URL)
    parcel = a_parcel()
    last = an_attempt(1, Reply(451, "later"))
    waiting = replace(
        parcel, deliveries=(replace(parcel.deliveries[0], last=last),), attempt=2, wait=Wait.DEFERRED, not_before=9.0
    )
    await ledger.record([inbound.parcel(parcel), inbound.parcel(waiting, source=Source.EVENTS)])
    listed = a_parcel()
    listed = replace(listed, deliveries=(replace(listed.deliveries[0], suppressed=True),))
    await ledger.record([inbound.parcel(listed)])
    kinds = [row["kind"] for row in await rows(database)]
    assert kinds == ["email.sent", "email.delivery_delayed", "email.sent", "email.suppressed"]


async def test_an_address_that_bounced_is_told_when_it_comes_onto_the_list_and_not_again(
    ledger, hooks, database, inbound
):
    await hooks.add(URL, ["suppression.added"])
    for _ in range(2):
        parcel = a_parcel(to=["Gone@x.test"])
        bounce = an_event(parcel, Kind.BOUNCED, suppress=True, tried=an_attempt(1, Reply(550, "no such user")))
        await ledger.record([inbound.parcel(parcel), inbound.events(bounce)])
    (row,) = await rows(database)
    entry = dict(await database.fetchrow("SELECT id, address, origin, email_id FROM suppressions"))
    assert (row["kind"], row["email_id"]) == ("suppression.added", None)
    shown = {"id": str(entry["id"]), "email": "gone@x.test", "origin": "bounce"}
    assert row["data"].items() >= (shown | {"source_id": str(entry["email_id"])}).items()


async def test_a_mailbox_that_is_full_too_often_is_told_once(ledger, hooks, database, inbound):
    await hooks.add(URL, ["suppression.added"])
    full = replace(an_attempt(1, Reply(452, "mailbox full")), bounce_class=FULL)
    for _ in range(FULL_TIMES + 1):
        parcel = a_parcel(to=["full@x.test"])
        await ledger.record([inbound.parcel(parcel), inbound.events(an_event(parcel, Kind.BOUNCED, tried=full))])
    (row,) = await rows(database)
    assert row["data"]["email"] == "full@x.test"


async def test_a_delivery_that_was_never_confirmed_is_told_as_failed(engine, ledger, hooks, database, inbound):
    await hooks.add(URL, ["email.failed"])
    parcel = a_parcel()
    await ledger.record([inbound.events(an_event(parcel, Kind.UNCONFIRMED, tried=None, at=1000.0))])
    assert await rows(database) == []
    recorded = await end_unconfirmed(database, time.time(), time.time(), WebhookOutbox())
    assert len(recorded.events) == 1
    assert await database.fetchval("SELECT state FROM deliveries") == State.FAILED
    (row,) = await rows(database)
    assert row["data"]["failed"]["reason"].startswith("the broker never confirmed")


async def test_a_new_endpoint_hears_of_what_happens_a_second_later(engine, hooks, database, inbound):
    now = 0.0
    ledger = PostgresLedger(engine, Partitions(30))
    ledger._webhooks = WebhookOutbox(clock=lambda: now)
    await ledger.record([inbound.parcel(a_parcel())])
    await hooks.add(URL)
    now = webhook_outbox.LOOK_AGAIN - 0.001
    await ledger.record([inbound.parcel(a_parcel())])
    assert await rows(database) == []
    now = webhook_outbox.LOOK_AGAIN
    await ledger.record([inbound.parcel(a_parcel())])
    assert len(await rows(database)) == 1
    await ledger.close()


async def test_without_webhooks_a_batch_has_no_statement_more(ledger, hooks, database, inbound):
    await ledger.record([inbound.parcel(a_parcel())])
    ledger._webhooks._look_at = float("inf")
    raw, _ = await ledger._connected()
    seen = []
    raw.add_query_logger(lambda record: seen.append(record.query))
    parcel = a_parcel()
    await ledger.record([inbound.parcel(parcel), inbound.events(an_event(parcel))])
    assert seen
    assert [query for query in seen if "webhook" in query] == []


async def test_the_payload_is_made_of_the_row_and_its_email(kept, ledger, hooks, database, inbound):
    endpoint = await hooks.add(URL)
    content = a_content(subject="Hello {{ name }}", syntax="template", tags=(Mark("team", "blue"),))
    parcel = a_parcel(to=["bob@x.test"], content=content)
    delivery = replace(parcel.deliveries[0], variables={"name": "Bob"})
    parcel = replace(parcel, deliveries=(delivery,))
    await ledger.record([inbound.parcel(parcel), inbound.events(an_event(parcel))])
    async with kept.use() as connection:
        sent, delivered = await claim(connection, {(TENANT, endpoint): 10}, 10, 30.0)
    payload = msgspec.json.decode(payload_of(delivered.kind, delivered.at, delivered.data, delivered.mail))
    assert payload["type"] == EventType.EMAIL_DELIVERED
    assert payload["data"] == {
        "email_id": str(delivery.email_id),
        "message_id": f"<{delivery.message_id}>",
        "created_at": payload["data"]["created_at"],
        "from": "Ada <ada@sender.test>",
        "subject": "Hello Bob",
        "tags": {"team": "blue"},
        "to": ["bob@x.test"],
    }
    assert payload["created_at"].endswith("Z") and sent.kind == EventType.EMAIL_SENT
    assert sent.trace_id is None and not sent.awaited


async def test_an_event_that_overtook_its_acceptance_waits_for_it(kept, ledger, hooks, inbound):
    endpoint = await hooks.add(URL, ["email.delivered"])
    parcel = a_parcel()
    await ledger.record([inbound.events(an_event(parcel))])
    async with kept.use() as connection:
        (found,) = await claim(connection, {(TENANT, endpoint): 10}, 10, 0.0)
        assert (found.awaited, found.mail) == (True, None)
        await ledger.record([inbound.parcel(parcel)])
        (found,) = await claim(connection, {(TENANT, endpoint): 10}, 10, 0.0)
    assert not found.awaited
    assert found.mail["email_id"] == str(parcel.deliveries[0].email_id)
