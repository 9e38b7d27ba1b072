"""The counters of what became of mail are exact to the deliveries and events, whatever comes in whichever order."""

import asyncio
import random
import time

import pytest
from msgspec.structs import replace

from mailwarren.contracts.counters import COUNTERS, QUARTER
from mailwarren.contracts.events import Kind
from mailwarren.contracts.ids import event_id, new_id
from mailwarren.contracts.parcel import Wait
from mailwarren.contracts.reply import Reply
from mailwarren.contracts.testing import TENANT, a_content, a_delivery, a_parcel, an_attempt, an_event
from mailwarren.contracts.tracking import Flag, Hit, HitKind, Hits
from mailwarren.store.recount import FACTS
from mailwarren.tracker.adapters.counters import drift
from mailwarren.tracker.adapters.partitions import Partitions
from mailwarren.tracker.adapters.store import PostgresLedger
from mailwarren.tracker.domain.read import Source
from mailwarren.tracker.ports import Unavailable
from mailwarren.tracker.upkeep import Upkeep

pytestmark = pytest.mark.postgres

SENDERS = ("Ada <ada@a.test>", "bob@b.test")
ENDS = (Kind.DELIVERED, Kind.BOUNCED, Kind.FAILED, Kind.EXPIRED, Kind.CANCELED, Kind.SUPPRESSED, Kind.HELD)
CLASSES = (None, "quota", "invalid_recipient")
FLAGS = (None, None, Flag.PROXY, Flag.BOT)


async def counted(database, tenant=TENANT):
    """The sums of all counters that are not zero."""
    sums = ", ".join(f"coalesce(sum({name}), 0)::int AS {name}" for name in COUNTERS)
    row = await database.fetchrow(f"SELECT {sums} FROM email_metrics WHERE tenant = $1", tenant)
    return {name: number for name, number in row.items() if number}


async def exact(database):
    """Nothing differs between the counters and a recount."""
    found = [dict(row) for row in await drift(database, 0.0, time.time() + 86400)]
    assert found == []


def deferral(parcel, at):
    """The parcel as a sender puts it on the ladder."""
    last = an_attempt(parcel.attempt, Reply(450, "later", "4.2.0"), at=at)
    return replace(
        parcel,
        attempt=parcel.attempt + 1,
        wait=Wait.DEFERRED,
        not_before=at + 60,
        deliveries=tuple(replace(delivery, last=last) for delivery in parcel.deliveries),
    )


def a_hit(parcel, kind, index, at, flag=None):
    """A hit of one of its deliveries."""
    delivery = parcel.deliveries[index]
    return Hit(
        new_id(), kind, delivery.id, delivery.email_id, parcel.tenant, at, parcel.accepted_at, flag=flag
    )  # fmt: skip


def history(dice, inbound, start):
    """An acceptance and what becomes of it, as messages: repeated ends, several attempts, other ends, hits."""
    to = [f"u{number}@x.test" for number in range(dice.randint(1, 4))]
    parcel = a_parcel(
        to=to,
        content=a_content(sender=dice.choice(SENDERS)),
        accepted_at=start + dice.random() * 3 * QUARTER,
        broadcast=dice.choice((None, new_id())),
    )
    if dice.random() < 0.2:
        first, *others = parcel.deliveries
        parcel = replace(parcel, deliveries=(replace(first, suppressed=True), *others))
    works = [inbound.parcel(parcel)]
    at, tried = parcel.accepted_at, parcel
    while dice.random() < 0.4:
        at += dice.random() * QUARTER
        tried = deferral(tried, at)
        works.append(inbound.parcel(tried, Source.EVENTS))
    for index in range(len(to)):
        for kind in dice.sample(ENDS, dice.randint(0, 2)):
            attempt = an_attempt(tried.attempt, bounce_class=dice.choice(CLASSES))
            at = parcel.accepted_at + dice.random() * 5 * QUARTER
            works.append(inbound.events(an_event(tried, kind, index, at=at, tried=attempt)))
        for _ in range(dice.randint(0, 2)):
            times = [parcel.accepted_at + dice.random() * 8 * QUARTER for _ in range(2)]
            hits = [a_hit(parcel, dice.choice(list(HitKind)), index, at, dice.choice(FLAGS)) for at in times]
            works.append(inbound.value(Hits(tuple(hits))))
    return works


@pytest.mark.parametrize("seed", range(6))
async def test_any_order_in_any_batches_over_two_trackers_counts_what_the_rows_say(engine, database, inbound, seed):
    dice = random.Random(seed)
    start = time.time() - 3 * 3600
    works = [work for _ in range(40) for work in history(dice, inbound, start)]
    works += dice.sample(works, len(works) // 5)  # what is delivered again
    dice.shuffle(works)
    ledgers = [PostgresLedger(engine, Partitions(30)) for _ in range(2)]
    half = len(works) // 2

    async def run(ledger, mine):
        while mine:
            batch, mine = mine[: (size := dice.randint(1, 25))], mine[size:]
            while True:
                try:
                    await ledger.record(batch)
                    break
                except Unavailable:  # ended as the loser of a deadlock: again, as the recorder does
                    await asyncio.sleep(0.01)

    await asyncio.gather(run(ledgers[0], works[:half]), run(ledgers[1], works[half:]))
    for ledger in ledgers:
        await ledger.close()
    await exact(database)
    found = await counted(database)
    assert found["received"] == await database.fetchval("SELECT count(*) FROM deliveries WHERE accepted_at IS NOT NULL")
    assert found["delivered"] == await database.fetchval("SELECT count(*) FROM deliveries WHERE state = 'delivered'")
    assert found["unique_opened"] == await database.fetchval("SELECT count(*) FROM deliveries WHERE opens > 0")
    assert found["clicked"] == await database.fetchval("SELECT sum(clicks) FROM deliveries")


async def test_one_mail_counts_once_for_each_thing_that_became_of_it(ledger, database, inbound):
    parcel = a_parcel(to=["a@x.test", "b@x.test"])
    later = deferral(parcel, time.time())
    await ledger.record([inbound.parcel(parcel), inbound.parcel(later, Source.EVENTS)])
    bounced = an_event(later, Kind.BOUNCED, 1, tried=an_attempt(2, bounce_class="invalid_recipient"))
    works = [inbound.events(an_event(later), bounced)]
    await ledger.record(works)
    await ledger.record(works)
    assert await counted(database) == {
        "received": 2, "sent": 2, "delivery_delayed": 2, "delivered": 1, "bounced_permanent": 1,
    }  # fmt: skip
    await exact(database)


async def test_an_outcome_before_its_acceptance_counts_with_it(ledger, database, inbound):
    parcel = a_parcel()
    await ledger.record([inbound.events(an_event(parcel))])
    assert await counted(database) == {}
    await ledger.record([inbound.parcel(parcel)])
    assert await counted(database) == {"received": 1, "sent": 1, "delivered": 1}
    row = await database.fetchrow("SELECT domain, broadcast FROM email_metrics LIMIT 1")
    assert row["domain"] == "sender.test"
    await exact(database)


async def test_opens_and_clicks_count_when_they_count_as_a_readers(ledger, database, inbound):
    parcel = a_parcel(to=["a@x.test", "b@x.test"], accepted_at=time.time() - 300)
    at = parcel.accepted_at
    await ledger.record([inbound.parcel(parcel), inbound.events(*(an_event(parcel, index=n, at=at) for n in (0, 1)))])
    hits = (
        a_hit(parcel, HitKind.OPENED, 0, at + 10),
        a_hit(parcel, HitKind.OPENED, 0, at + 20, Flag.PROXY),
        a_hit(parcel, HitKind.OPENED, 1, at + 30),
        a_hit(parcel, HitKind.OPENED, 1, at + 30, Flag.BOT),
        a_hit(parcel, HitKind.CLICKED, 1, at + 40),
        a_hit(parcel, HitKind.CLICKED, 1, at + 1),
    )
    for _ in range(2):
        await ledger.record([inbound.value(Hits(hits))])
    assert await counted(database) == {
        "received": 2, "sent": 2, "delivered": 2, "opened": 3, "unique_opened": 2, "clicked": 1, "unique_clicked": 1,
    }  # fmt: skip
    await exact(database)


async def test_a_first_open_that_is_told_late_is_the_first(ledger, database, inbound):
    parcel = a_parcel(accepted_at=time.time() - 4 * QUARTER)
    at = parcel.accepted_at
    await ledger.record([inbound.parcel(parcel), inbound.events(an_event(parcel, at=at))])
    for after in (3 * QUARTER, QUARTER):
        await ledger.record([inbound.value(Hits((a_hit(parcel, HitKind.OPENED, 0, at + after),)))])
    quarters = await database.fetch("SELECT quarter FROM email_metrics WHERE unique_opened > 0")
    assert [row["quarter"].timestamp() for row in quarters] == [(at + QUARTER) // QUARTER * QUARTER]
    await exact(database)


async def test_opens_before_the_acceptance_is_recorded_count_with_it(ledger, database, inbound):
    parcel = a_parcel(accepted_at=time.time() - 300)
    at = parcel.accepted_at
    hits = (a_hit(parcel, HitKind.OPENED, 0, at + 9), a_hit(parcel, HitKind.OPENED, 0, at + 9, Flag.ODD))
    await ledger.record([inbound.events(an_event(parcel, at=at)), inbound.value(Hits(hits))])
    assert await counted(database) == {}
    again = a_hit(parcel, HitKind.CLICKED, 0, at + 9)
    await ledger.record([inbound.parcel(parcel), inbound.value(Hits((again,)))])
    assert await counted(database) == {
        "received": 1, "sent": 1, "delivered": 1, "opened": 1, "unique_opened": 1, "clicked": 1, "unique_clicked": 1,
    }  # fmt: skip
    await exact(database)


async def test_an_earlier_end_takes_the_later_one_back(ledger, database, inbound):
    parcel = a_parcel()
    now = time.time()
    await ledger.record([inbound.parcel(parcel), inbound.events(an_event(parcel, Kind.FAILED, at=now))])
    first = an_event(parcel, Kind.BOUNCED, at=now - 2 * QUARTER, id=event_id(parcel.deliveries[0].id, 9, "bounced"))
    await ledger.record([inbound.events(first)])
    assert await counted(database) == {"received": 1, "sent": 1, "bounced_undetermined": 1}
    await exact(database)


async def test_mail_that_nobody_confirmed_is_counted_when_it_fails(engine, ledger, database, inbound):
    parcel = a_parcel(accepted_at=time.time() - 3 * 86400)
    told = an_event(parcel, Kind.UNCONFIRMED, attempt=0, tried=None, at=parcel.accepted_at)
    await ledger.record([inbound.parcel(parcel), inbound.events(told)])
    await Upkeep(engine, Partitions(30)).turn(time.time())
    assert await counted(database) == {"received": 1, "sent": 1, "failed": 1}
    await exact(database)


async def test_mail_that_a_release_before_recorded_counts_nowhere(ledger, database, inbound):
    parcel = a_parcel()
    await ledger.record([inbound.parcel(parcel)])
    # As that release leaves it.
    await database.execute("UPDATE deliveries SET sender_domain = NULL")
    await database.execute("DELETE FROM email_metrics")
    await ledger.record([inbound.events(an_event(parcel))])
    assert await counted(database) == {}
    await exact(database)


async def test_a_counter_that_drifts_is_found(ledger, database, inbound):
    parcel = a_parcel()
    await ledger.record([inbound.parcel(parcel), inbound.events(an_event(parcel))])
    await database.execute("UPDATE email_metrics SET delivered = 2, failed = 2 WHERE delivered = 1")
    found = await drift(database, 0.0, time.time() + 86400)
    assert {(row["what"], row["counted"], row["facts"]) for row in found} == {("delivered", 2, 1), ("failed", 2, 0)}


async def test_tenants_domains_and_broadcasts_have_rows_of_their_own(ledger, database, inbound):
    other, broadcast = new_id(), new_id()
    parcels = [
        a_parcel(),
        a_parcel(tenant=other),
        a_parcel(content=a_content(sender="x@y.test")),
        a_parcel(broadcast=broadcast, deliveries=(a_delivery("c@x.test"), a_delivery("d@x.test"))),
    ]
    await ledger.record([inbound.parcel(parcel) for parcel in parcels])
    rows = await database.fetch(
        "SELECT tenant, domain, broadcast, sum(sent)::int AS sent FROM email_metrics GROUP BY 1, 2, 3"
    )
    assert sorted(
        (row["tenant"] == other, row["domain"], row["broadcast"] == broadcast, row["sent"]) for row in rows
    ) == [
        (False, "sender.test", False, 1),
        (False, "sender.test", True, 2),
        (False, "y.test", False, 1),
        (True, "sender.test", False, 1),
    ]


async def test_events_of_single_emails_are_found_by_their_index(database):
    await database.execute("SET enable_seqscan = off")  # which small tables would have it
    sql = f"EXPLAIN SELECT * FROM ({FACTS}) AS f WHERE f.tenant = $1 AND f.at > now() AND f.email_id = ANY($2::uuid[])"
    plan = [row[0] for row in await database.fetch(sql, TENANT, [new_id()])]
    assert any("events" in line and "email_id_idx" in line for line in plan), plan
