"""What batches leave in the tables."""

import asyncio
import datetime as dt
import time
import uuid

import pytest
from msgspec.structs import replace

from mailwarren.contracts.events import Cancel, Kind
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Mark, OnUnknown, Role, Syntax, Wait
from mailwarren.contracts.reply import Command, Reply
from mailwarren.contracts.settle import Question, Verdict
from mailwarren.contracts.testing import TENANT, a_content, a_delivery, a_parcel, an_attempt, an_event
from mailwarren.tracker.adapters import deliveries
from mailwarren.tracker.adapters.emails import digest_of
from mailwarren.tracker.adapters.partitions import Partitions
from mailwarren.tracker.adapters.store import PostgresLedger
from mailwarren.tracker.domain.read import Source
from mailwarren.tracker.domain.settle import Terms
from mailwarren.tracker.ports import Refused

pytestmark = pytest.mark.postgres


class About(dt.datetime):
    """Equal to a time within a millisecond: the wire has floats, Postgres microseconds."""

    def __eq__(self, other):
        return isinstance(other, dt.datetime) and abs(other - self) < dt.timedelta(milliseconds=1)

    __hash__ = None


def at(seconds):
    return About.fromtimestamp(seconds, dt.UTC)


def to_deferral(parcel, reply=None, wait=60.0):
    """The parcel as a sender puts it on the ladder after its attempt."""
    last = an_attempt(parcel.attempt, reply or Reply(450, "try later", "4.2.0"))
    return replace(
        parcel,
        attempt=parcel.attempt + 1,
        wait=Wait.DEFERRED,
        not_before=last.at + wait,
        deliveries=tuple(replace(delivery, last=last) for delivery in parcel.deliveries),
    )


async def states(database):
    return {row[0]: row[1] for row in await database.fetch("SELECT address, state FROM deliveries")}


async def counts(database):
    rows = await database.fetch("SELECT kind, sum(count)::int FROM stats_minute GROUP BY kind")
    return {row[0]: row[1] for row in rows}


async def test_an_acceptance_becomes_content_email_and_delivery(ledger, database, inbound):
    content = a_content(
        subject='Grüße, Ada \\ "quoted"', html="<p>{{ name }}</p>",
        cc=('"C, D" <c@example.test>', "back\\slash@x.test"),
        bcc=("b@example.test",), reply_to=("r@example.test",), headers={"X-A": "1"}, tags=(Mark("campaign", "may"),),
        syntax=Syntax.TEMPLATE,
    )  # fmt: skip
    email = uuid.uuid4()
    delivery = a_delivery(
        "Bob@example.test", email, mailbox="Bob {x} <Bob@example.test>", role=Role.CC,
        variables={"name": "Bob", "n": [1]}, metadata={"order": "7"},
    )  # fmt: skip
    parcel = a_parcel(
        content=content, deliveries=(delivery,), lane=Lane.HIGH, partition=5, request_id=uuid.uuid4(),
        expires_at=1_800_000_000.0, on_unknown=OnUnknown.HOLD,
    )  # fmt: skip
    recorded = await ledger.record([inbound.parcel(parcel)])
    assert recorded.accepted == [parcel]
    row = dict(await database.fetchrow("SELECT * FROM emails"))
    assert row == {
        "id": email, "tenant": TENANT, "created_at": at(parcel.accepted_at), "request_id": parcel.request_id,
        "lane": "high", "partition": 5, "content": digest_of(TENANT, content), "sender": content.sender,
        "subject": content.subject, "to": ["Bob {x} <Bob@example.test>"], "cc": list(content.cc),
        "bcc": list(content.bcc), "reply_to": list(content.reply_to), "tags": '[{"name": "campaign", "value": "may"}]',
        "metadata": '{"order": "7"}', "variables": '{"n": [1], "name": "Bob"}', "message_id": delivery.message_id,
        "expires_at": at(1_800_000_000.0), "on_unknown": "hold", "cancel_requested_at": None,
        "trace_id": None,
    }  # fmt: skip
    row = await database.fetchrow("SELECT * FROM contents")
    assert (row["digest"], row["html"], row["text"], row["headers"], row["syntax"]) == (
        digest_of(TENANT, content), content.html, content.text, '{"X-A": "1"}', "template",
    )  # fmt: skip
    row = await database.fetchrow("SELECT * FROM deliveries")
    assert (row["id"], row["email_id"], row["address"], row["role"], row["shard"]) == (
        delivery.id, email, "Bob@example.test", "cc", parcel.shard,
    )  # fmt: skip
    assert (row["state"], row["attempt"], row["accepted_at"], row["ended_at"]) == (
        "accepted", 0, at(parcel.accepted_at), None,
    )  # fmt: skip


async def test_one_content_for_a_request_of_many_parcels(ledger, database, inbound):
    content = a_content()
    parcels = [a_parcel(to=[f"u{n}@a.test", f"v{n}@a.test"], content=content) for n in range(10)]
    await ledger.record([inbound.parcel(parcel) for parcel in parcels])
    assert await database.fetchval("SELECT count(*) FROM contents") == 1
    assert await database.fetchval("SELECT count(*) FROM deliveries") == 20
    # The same words of another tenant are another content.
    await ledger.record([inbound.parcel(a_parcel(content=content, tenant=uuid.uuid4()))])
    assert await database.fetchval("SELECT count(*) FROM contents") == 2


async def test_a_content_that_comes_again_is_refreshed_once_a_day_for_retention_to_see(ledger, database, inbound):
    content = a_content(subject="Again and again")
    ages = []
    for days in (0, 0.9, 1.1):
        await database.execute("UPDATE contents SET last_seen = now() - $1::float8 * interval '1 day'", float(days))
        await ledger.record([inbound.parcel(a_parcel(content=content))])
        (row,) = await database.fetch(
            "SELECT extract(epoch FROM now() - last_seen)::float8 / 86400 AS age FROM contents WHERE digest = $1",
            digest_of(TENANT, content),
        )
        ages.append(round(row["age"], 1))
    assert ages == [0, 0.9, 0]


async def test_an_email_knows_the_trace_of_its_call(ledger, database, inbound):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    told = {f"00-{trace}-00f067aa0ba902b7-01": uuid.UUID(trace), None: None, "00-" + "x" * 52: None}
    parcels = [a_parcel(trace=given) for given in told]
    await ledger.record([inbound.parcel(parcel) for parcel in parcels])
    for parcel, found in zip(parcels, told.values(), strict=True):
        (row,) = await database.fetch("SELECT trace_id FROM emails WHERE id = $1", parcel.deliveries[0].email_id)
        assert row["trace_id"] == found


async def test_the_parcels_of_one_email_make_one_email(ledger, database, inbound):
    email = uuid.uuid4()
    content = a_content(to=("a@google.test", "b@yahoo.test"))
    parcels = [a_parcel(content=content, deliveries=(a_delivery(to, email),)) for to in content.to]
    await ledger.record([inbound.parcel(parcels[0])])
    await ledger.record([inbound.parcel(parcel) for parcel in parcels])
    [row] = await database.fetch('SELECT "to" FROM emails')
    assert row["to"] == list(content.to)
    assert await database.fetchval("SELECT count(*) FROM deliveries WHERE email_id = $1", email) == 2
    assert await counts(database) == {"accepted": 2}


async def test_the_whole_way_of_a_delivery(ledger, database, inbound):
    parcel = a_parcel()
    await ledger.record([inbound.parcel(parcel)])
    deferral = to_deferral(parcel)
    await ledger.record([inbound.parcel(deferral, Source.EVENTS)])
    row = await database.fetchrow("SELECT * FROM deliveries")
    assert (row["state"], row["attempt"], row["next_attempt_at"]) == ("deferred", 1, at(deferral.not_before))
    assert (row["reply_code"], row["reply_enhanced"], row["reply_text"], row["reply_command"]) == (
        450, "4.2.0", "try later", "dot",
    )  # fmt: skip
    yes = an_event(replace(deferral, wait=None), tried=an_attempt(2, site="google", host="mx.google.test:25"))
    recorded = await ledger.record([inbound.events(yes)])
    assert recorded.delivered == [yes]
    row = await database.fetchrow("SELECT * FROM deliveries")
    assert (row["state"], row["attempt"], row["next_attempt_at"], row["ended_at"]) == ("delivered", 2, None, at(yes.at))
    assert (row["reply_code"], row["site"], row["host"]) == (250, "google", "mx.google.test:25")
    events = await database.fetch("SELECT kind, attempt, reply_code, next_attempt_at FROM events ORDER BY at")
    assert [tuple(event) for event in events] == [
        ("deferred", 1, 450, at(deferral.not_before)), ("delivered", 2, 250, None),
    ]  # fmt: skip
    assert await counts(database) == {"accepted": 1, "deferred": 1, "delivered": 1}


async def test_an_outcome_that_overtakes_its_acceptance(ledger, database, inbound):
    parcel = a_parcel(to=["a@x.test", "b@x.test"], lane=Lane.BULK)
    await ledger.record([inbound.events(an_event(parcel), an_event(parcel, Kind.BOUNCED, 1))])
    row = await database.fetchrow("SELECT * FROM deliveries WHERE address = 'a@x.test'")
    assert (row["state"], row["accepted_at"], row["role"], row["shard"]) == ("delivered", None, None, None)
    recorded = await ledger.record([inbound.parcel(parcel)])
    assert recorded.accepted == [parcel, parcel]
    row = await database.fetchrow("SELECT * FROM deliveries WHERE address = 'a@x.test'")
    assert (row["state"], row["accepted_at"], row["role"]) == ("delivered", at(parcel.accepted_at), "to")
    assert (row["shard"], row["partition"]) == (parcel.shard, parcel.partition)
    assert await states(database) == {"a@x.test": "delivered", "b@x.test": "bounced"}
    assert await counts(database) == {"accepted": 2, "delivered": 1, "bounced": 1}


async def test_a_delivery_knows_its_broadcast_whether_its_acceptance_or_its_outcome_comes_first(
    ledger, database, inbound
):
    early, late = (replace(a_parcel(to=[f"{name}@x.test"]), broadcast=uuid.uuid4()) for name in "ab")
    await ledger.record([inbound.parcel(early), inbound.events(an_event(late))])
    await ledger.record([inbound.events(an_event(early)), inbound.parcel(late)])
    rows = await database.fetch("SELECT address, broadcast, state FROM deliveries ORDER BY address")
    assert [tuple(row) for row in rows] == [
        ("a@x.test", early.broadcast, "delivered"), ("b@x.test", late.broadcast, "delivered"),
    ]  # fmt: skip


async def test_acceptance_and_outcome_in_one_batch(ledger, database, inbound):
    parcel = a_parcel()
    await ledger.record([inbound.events(an_event(parcel)), inbound.parcel(parcel)])
    assert await states(database) == {"bob@example.test": "delivered"}
    assert await counts(database) == {"accepted": 1, "delivered": 1}


async def test_a_batch_that_comes_again_changes_nothing(ledger, inbound, snapshot):
    parcel = a_parcel(to=[f"u{n}@x.test" for n in range(5)])
    deferral = to_deferral(parcel)
    batch = [
        inbound.parcel(parcel),
        inbound.parcel(deferral, Source.EVENTS),
        inbound.events(*(an_event(deferral, index=n) for n in range(3))),
        inbound.events(an_event(deferral, Kind.BOUNCED, 3, suppress=True)),
        inbound.value(Cancel(parcel.deliveries[4].email_id, TENANT, 5.0)),
        inbound.value(Question(uuid.uuid4(), uuid.uuid4(), "q", (parcel.deliveries[4].id, uuid.uuid4()), 2)),
    ]
    first = await ledger.record(batch)
    before = await snapshot()
    again = await ledger.record(batch)
    assert await snapshot() == before
    assert again.answers == first.answers
    assert (again.accepted, again.events, again.delivered, again.repeated) == ([], [], [], 9)


async def test_the_same_messages_twice_in_one_batch_are_the_same_as_once(ledger, database, inbound):
    parcel = a_parcel(to=["a@x.test", "b@x.test"])
    batch = [inbound.parcel(parcel), inbound.events(an_event(parcel), an_event(parcel, Kind.BOUNCED, 1, suppress=True))]
    recorded = await ledger.record(batch * 2)
    assert (len(recorded.accepted), len(recorded.events), len(recorded.delivered)) == (2, 2, 1)
    assert await counts(database) == {"accepted": 2, "delivered": 1, "bounced": 1}
    assert await database.fetchval("SELECT count(*) FROM deliveries") == 2


async def test_two_reports_of_one_attempt_are_one_event_whenever_they_happened(ledger, database, inbound):
    parcel = a_parcel()
    event = an_event(parcel)
    await ledger.record([inbound.events(event, replace(event, at=event.at + 1))])
    await ledger.record([inbound.events(replace(event, at=event.at + 100_000))])
    assert await database.fetchval("SELECT count(*) FROM events") == 1
    assert await counts(database) == {"delivered": 1}


async def test_events_without_an_attempt_are_recorded_once_too(ledger, database, inbound):
    parcel = a_parcel()
    event = an_event(parcel, Kind.UNCONFIRMED, attempt=0, tried=None)
    for _ in range(3):
        await ledger.record([inbound.events(event)])
    assert await counts(database) == {"unconfirmed": 1}
    await ledger.record([inbound.parcel(parcel)])
    assert await states(database) == {"bob@example.test": "unconfirmed"}
    await ledger.record([inbound.events(an_event(parcel, Kind.STARTED))])
    assert await states(database) == {"bob@example.test": "accepted"}


async def test_an_event_from_long_before_its_acceptance_is_recorded_once(ledger, database, inbound):
    parcel = a_parcel()
    event = an_event(parcel, Kind.UNCONFIRMED, attempt=0, tried=None, at=parcel.accepted_at - 200_000)
    await ledger.record([inbound.events(event)])
    recorded = await ledger.record([inbound.events(event, an_event(parcel))])
    assert ([event.kind for event in recorded.events], recorded.repeated) == ([Kind.DELIVERED], 1)
    assert await counts(database) == {"unconfirmed": 1, "delivered": 1}


async def test_no_batch_reads_all_deliveries_however_few_there_are(ledger, database, inbound):
    parcel = a_parcel(to=[f"u{n}@x.test" for n in range(50)])
    await ledger.record([inbound.parcel(parcel)])
    await database.execute("ANALYZE deliveries")
    connection, _ = await ledger._connected()
    ids = [delivery.id for delivery in parcel.deliveries]
    changes = [ids, *([None] * 50 for _ in range(21))]
    for statement, values in ((deliveries._LOCK, [ids]), (deliveries._READ, [ids]), (deliveries._CHANGES, changes)):
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}", *values))
        assert "pk_deliveries" in plan
        assert "Seq Scan" not in plan


async def test_a_suppressed_delivery_is_suppressed_from_the_start(ledger, database, inbound):
    parcel = a_parcel(deliveries=(a_delivery("a@x.test"), a_delivery("b@x.test", suppressed=True)))
    for _ in range(2):
        await ledger.record([inbound.parcel(parcel)])
    assert await states(database) == {"a@x.test": "accepted", "b@x.test": "suppressed"}
    assert await database.fetchval("SELECT ended_at FROM deliveries WHERE address = 'b@x.test'") is not None
    assert await counts(database) == {"accepted": 2, "suppressed": 1}


async def test_an_invalid_recipient_is_suppressed_once_and_only_for_its_tenant(ledger, database, inbound):
    parcel = a_parcel(to=["Gone@x.test"])
    tried = an_attempt(1, Reply(550, "no", "5.1.1"), bounce_class="invalid_recipient")
    bounce = an_event(parcel, Kind.BOUNCED, suppress=True, tried=tried)
    await ledger.record([inbound.events(bounce)])
    await database.execute("DELETE FROM suppressions")  # a person knows better
    await ledger.record([inbound.events(bounce)])
    assert await database.fetchval("SELECT count(*) FROM suppressions") == 0
    again = an_event(a_parcel(to=["gone@x.test"]), Kind.BOUNCED, suppress=True, tried=None)
    await ledger.record([inbound.events(again)])
    row = await database.fetchrow("SELECT * FROM suppressions")
    assert (row["tenant"], row["address"], row["origin"], row["expires_at"]) == (TENANT, "gone@x.test", "bounce", None)


async def test_an_expiring_suppression_becomes_a_lasting_one_and_a_lasting_one_stays(ledger, database, inbound):
    await database.execute(
        "INSERT INTO suppressions VALUES ($1, 'a@x.test', 'quota', 'bounce', null, now(), now() + interval '1 day'), "
        "($1, 'b@x.test', 'asked', 'manual', null, now(), null)",
        TENANT,
    )
    parcel = a_parcel(to=["a@x.test", "b@x.test"])
    await ledger.record(
        [inbound.events(*(an_event(parcel, Kind.BOUNCED, n, suppress=True, tried=None) for n in (0, 1)))]
    )
    rows = await database.fetch("SELECT reason, expires_at FROM suppressions ORDER BY address")
    assert [tuple(row) for row in rows] == [("invalid_recipient", None), ("asked", None)]


async def test_a_dead_letter_is_parked_until_its_replay_has_an_outcome(ledger, database, inbound):
    parcel = a_parcel()
    await ledger.record([inbound.parcel(parcel), inbound.parcel(parcel, Source.DEAD, **{"mw-reason": "bug"})])
    assert await states(database) == {"bob@example.test": "parked"}
    assert await database.fetchval("SELECT reason FROM events") == "bug"
    await ledger.record([inbound.events(an_event(parcel))])
    assert await states(database) == {"bob@example.test": "delivered"}


async def test_a_cancel_is_noted_on_the_email_and_gives_the_verdict(ledger, database, inbound):
    parcel = a_parcel(to=["a@x.test", "b@x.test"])
    first, second = parcel.deliveries
    await ledger.record([inbound.parcel(parcel), inbound.events(an_event(parcel, index=1))])
    cancels = [Cancel(d.email_id, TENANT, 1_700_000_100.0) for d in parcel.deliveries]
    await ledger.record([inbound.value(cancel) for cancel in cancels])
    await ledger.record([inbound.value(replace(cancels[0], at=1_700_000_200.0))])
    assert {row[0] for row in await database.fetch("SELECT cancel_requested_at FROM emails")} == {
        dt.datetime.fromtimestamp(1_700_000_100.0, dt.UTC)
    }
    question = Question(uuid.uuid4(), uuid.uuid4(), "q", (first.id, second.id), 1)
    [(_, answer)] = (await ledger.record([inbound.value(question)])).answers
    assert answer.verdicts == (Verdict.CANCELED, Verdict.DONE)
    assert await states(database) == {"a@x.test": "accepted", "b@x.test": "delivered"}


async def test_a_cancel_that_overtakes_its_acceptance_is_taken_over(ledger, database, inbound):
    parcel = a_parcel()
    cancel = Cancel(parcel.deliveries[0].email_id, TENANT, 1_700_000_100.0)
    question = Question(uuid.uuid4(), uuid.uuid4(), "q", (parcel.deliveries[0].id,), 2)
    await ledger.record([inbound.value(cancel), inbound.events(an_event(parcel, Kind.STARTED))])
    [(_, answer)] = (await ledger.record([inbound.value(question)])).answers
    assert answer.verdicts == (Verdict.CANCELED,)
    await ledger.record([inbound.parcel(parcel)])
    assert await database.fetchval("SELECT cancel_requested_at FROM emails") == at(cancel.at)


async def test_nobody_cancels_the_mail_of_another_tenant(ledger, database, inbound):
    parcel = a_parcel()
    cancel = Cancel(parcel.deliveries[0].email_id, uuid.uuid4(), 1.0)
    await ledger.record([inbound.value(cancel), inbound.parcel(parcel), inbound.value(cancel)])
    assert await database.fetchval("SELECT cancel_requested_at FROM emails") is None
    question = Question(uuid.uuid4(), uuid.uuid4(), "q", (parcel.deliveries[0].id,), 1)
    [(_, answer)] = (await ledger.record([inbound.value(question)])).answers
    assert answer.verdicts == (Verdict.UNTOUCHED,)


async def test_a_question_is_answered_after_everything_before_it_in_its_batch(ledger, inbound):
    parcel = a_parcel(to=["a@x.test", "b@x.test", "c@x.test"])
    ids = tuple(delivery.id for delivery in parcel.deliveries)
    mine = Question(new_id(), uuid.uuid4(), "mine", ids, 1, turn=0, count=1)
    next_holder = Question(new_id(), uuid.uuid4(), "next", ids, 1, turn=0, count=2)
    other_copy = Question(new_id(), uuid.uuid4(), "other", ids, 1, turn=0, count=1)
    batch = [
        inbound.events(an_event(parcel)),
        inbound.events(an_event(parcel, Kind.STARTED, 1)),
        inbound.value(mine),
        inbound.value(next_holder),
        inbound.value(other_copy),
        inbound.value(replace(other_copy, id=new_id(), count=3)),
    ]
    answers = [answer.verdicts for _, answer in (await ledger.record(batch)).answers]
    done, started, untouched, claimed = Verdict.DONE, Verdict.STARTED, Verdict.UNTOUCHED, Verdict.CLAIMED
    assert answers == [(done, started, untouched)] * 2 + [(done, claimed, claimed)] * 2


async def test_a_claim_outlives_its_batch_and_needs_no_delivery(ledger, database, inbound):
    unheard = uuid.uuid4()
    first = Question(new_id(), uuid.uuid4(), "a", (unheard,), 3, turn=1, count=2)
    later = Question(new_id(), uuid.uuid4(), "b", (unheard,), 3, turn=1, count=3)
    other = replace(first, id=new_id(), asker=uuid.uuid4())
    latest = replace(later, id=new_id(), asker=uuid.uuid4(), count=4)
    verdicts = []
    for question in (first, first, later, first, other, latest, replace(first, attempt=4)):
        [(_, answer)] = (await ledger.record([inbound.value(question)])).answers
        verdicts.append(answer.verdicts[0].value)
    untouched, claimed = "untouched", "claimed"
    # The second copy that shows protects the holder of the first one against the next of either.
    assert verdicts == [untouched, untouched, untouched, claimed, claimed, claimed, untouched]
    assert await database.fetchval("SELECT count(*) FROM deliveries") == 0


async def test_the_repeat_of_a_keyed_call_declares_nothing_failed_that_the_first_copy_is_sending(ledger, inbound):
    """``on_unknown: fail``: started, then deferred; the repeat asks all the time, the next attempt once."""
    parcel = a_parcel(settle=True, on_unknown=OnUnknown.FAIL)
    ids = (parcel.deliveries[0].id,)
    first = Question(new_id(), uuid.uuid4(), "first", ids, 1)

    async def repeat(**about):
        asked = Question(new_id(), uuid.uuid4(), "repeat", ids, 1, **about)
        [(_, answer)] = (await ledger.record([inbound.value(asked)])).answers
        return answer.verdicts[0].value

    await ledger.record([inbound.parcel(parcel), inbound.value(first)])
    assert await repeat() == "claimed"
    await ledger.record([inbound.events(an_event(parcel, Kind.STARTED))])
    assert [await repeat(), await repeat(count=1), await repeat(turn=1)] == ["claimed"] * 3
    await ledger.record([inbound.parcel(to_deferral(parcel), Source.EVENTS)])
    assert await repeat(turn=2) == "done"
    [(_, answer)] = (await ledger.record([inbound.value(Question(new_id(), uuid.uuid4(), "q", ids, 2))])).answers
    assert answer.verdicts == (Verdict.UNTOUCHED,)


async def test_a_claim_that_nobody_heard_of_or_that_ran_out_is_no_obstacle(engine, database, inbound):
    ledger = PostgresLedger(engine, Partitions(30), Terms(hearing=10.0, lease=0.3))
    ids = (uuid.uuid4(),)

    async def ask(id_, **about):
        asked = Question(id_, uuid.uuid4(), "q", ids, 1, **about)
        [(_, answer)] = (await ledger.record([inbound.value(asked)])).answers
        return answer.verdicts[0].value

    long_ago = uuid.UUID(int=(int((time.time() - 60) * 1000) << 80) | (new_id().int & ((1 << 80) - 1)))
    assert await ask(long_ago, count=1) == "untouched"
    assert await ask(new_id(), turn=1, count=1) == "untouched"
    assert await ask(new_id(), turn=2) == "claimed"
    await asyncio.sleep(0.35)
    assert await ask(new_id(), turn=2) == "untouched"
    await ledger.close()


@pytest.mark.parametrize(
    "broken",
    [
        {"content": a_content(subject="a\0b")},
        {"content": a_content(html="\0")},
        {"content": a_content(headers={"X": "\0"})},
        {"content": a_content(tags=(Mark("a", "\0"),))},
        {"deliveries": (a_delivery(to="\0@x.test"),)},
        {"deliveries": (a_delivery(variables={"a": {"b": "\0"}}),)},
        {"accepted_at": 1e300},
        {"expires_at": -1e18},
    ],
    ids=["subject", "html", "header", "tag", "to", "variables", "accepted_at", "expires_at"],
)
async def test_a_parcel_that_postgres_cannot_store_is_refused_and_nothing_of_its_batch_is_written(
    ledger, inbound, snapshot, broken
):
    batch = [inbound.parcel(a_parcel()), inbound.parcel(a_parcel(**broken))]
    with pytest.raises(Refused):
        await ledger.record(batch)
    assert not any((await snapshot()).values())
    await ledger.record(batch[:1])
    assert len((await snapshot())["deliveries"]) == 1


@pytest.mark.parametrize(
    "broken",
    [
        {"tried": an_attempt(reply=Reply(70_000))},
        {"tried": an_attempt(reply=Reply(550, "a\0b", command=Command.RCPT))},
        {"attempt": 2**40},
        {"at": 1e300},
        {"to": "\0@x.test"},
        {"reason": "\0"},
    ],
    ids=["reply code", "reply text", "attempt", "at", "to", "reason"],
)
async def test_an_event_that_postgres_cannot_store_is_refused(ledger, inbound, snapshot, broken):
    with pytest.raises(Refused):
        await ledger.record([inbound.events(an_event(a_parcel(), **broken))])
    assert not any((await snapshot()).values())


async def test_the_latest_time_of_an_event_is_the_rows_time(ledger, database, inbound):
    parcel = a_parcel(accepted_at=time.time() - 100)
    await ledger.record([inbound.parcel(parcel)])
    late = to_deferral(replace(parcel, attempt=2))
    early = to_deferral(parcel)
    await ledger.record([inbound.parcel(late, Source.EVENTS)])
    early = replace(
        early, deliveries=tuple(replace(d, last=replace(d.last, at=d.last.at - 50)) for d in early.deliveries)
    )
    await ledger.record([inbound.parcel(early, Source.EVENTS)])
    row = await database.fetchrow("SELECT attempt, updated_at, next_attempt_at FROM deliveries")
    assert tuple(row) == (2, at(late.deliveries[0].last.at), at(late.not_before))
