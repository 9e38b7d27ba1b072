"""The daily partitions of the events table."""

import asyncio
import datetime as dt
import time

import pytest
from prometheus_client import REGISTRY

from mailwarren.contracts.testing import a_parcel, an_event
from mailwarren.tracker.adapters.partitions import DAY, Partitions
from mailwarren.tracker.adapters.store import PostgresLedger
from mailwarren.tracker.upkeep import TIDY_AGAIN, Upkeep

pytestmark = pytest.mark.postgres

OPEN = "mailwarren_tracker_deliveries_open"


async def partitions_of(database):
    sql = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass"
    return {row[0] for row in await database.fetch(sql)}


async def placed(database):
    return {
        row[0]: row[1]
        for row in await database.fetch("SELECT tableoid::regclass::text, count(*)::int FROM events GROUP BY 1")
    }


def name(at):
    return f"events_{dt.datetime.fromtimestamp(at, dt.UTC):%Y%m%d}"


@pytest.fixture(autouse=True)
async def only_the_default(database):
    for table in await partitions_of(database) - {"events_default"}:
        await database.execute(f"DROP TABLE {table}")


async def test_days_are_made_ahead(engine, database):
    now = time.time()
    await Upkeep(engine, Partitions(30)).turn(now)
    assert await partitions_of(database) == {"events_default", *(name(now + n * DAY) for n in range(4))}


async def test_an_events_day_is_made_when_it_turns_up_and_wrong_clocks_make_none(ledger, database, inbound):
    now = time.time()
    parcel = a_parcel(to=[f"u{n}@x.test" for n in range(5)])
    times = [now, now - 3 * DAY, now - 400 * DAY, now + 400 * DAY, 0.0]
    await ledger.record([inbound.events(*(an_event(parcel, index=n, at=at) for n, at in enumerate(times)))])
    assert await placed(database) == {name(now): 1, name(now - 3 * DAY): 1, "events_default": 3}


async def test_events_that_had_to_go_to_the_default_move_into_their_day(ledger, database, inbound):
    at = time.time()
    await database.execute(
        "INSERT INTO events (at, id, delivery_id, email_id, tenant, kind, attempt) "
        "SELECT to_timestamp($1), x, x, x, x, 'delivered', 1 FROM gen_random_uuid() x",
        at - 1,
    )
    await ledger.record([inbound.events(an_event(a_parcel(), at=at))])
    assert await placed(database) == {name(at): 2} or await placed(database) == {name(at): 1, name(at - 1): 1}


async def test_a_busy_table_does_not_hold_up_the_batch(ledger, database, inbound, monkeypatch):
    monkeypatch.setattr("mailwarren.tracker.adapters.partitions.LOCK_TIMEOUT", "100ms")
    now = time.time()
    async with database.transaction():
        await database.fetch("SELECT * FROM events_default")
        await ledger.record([inbound.events(an_event(a_parcel(), at=now))])
    assert await placed(database) == {"events_default": 1}


async def test_two_trackers_make_a_day_once(engine, database, inbound):
    ledgers = [PostgresLedger(engine, Partitions(30)) for _ in range(4)]
    now = time.time()
    await asyncio.gather(*(ledger.record([inbound.events(an_event(a_parcel(), at=now))]) for ledger in ledgers))
    assert await placed(database) == {name(now): 4}
    for ledger in ledgers:
        await ledger.close()


async def test_what_is_past_its_retention_is_dropped(engine, ledger, database, inbound):
    now = time.time()
    parcel = a_parcel(to=[f"u{n}@x.test" for n in range(4)])
    times = [now, now - 2 * DAY, now - 9 * DAY, now - 90 * DAY]
    await ledger.record([inbound.events(*(an_event(parcel, index=n, at=at) for n, at in enumerate(times)))])
    await database.execute(
        "INSERT INTO claims SELECT gen_random_uuid(), 1, gen_random_uuid(), 0, 0, now() - n * interval '2 days' "
        "FROM generate_series(1, 2) n"
    )
    await Upkeep(engine, Partitions(7)).turn(now)
    assert await placed(database) == {name(now): 1, name(now - 2 * DAY): 1}
    assert name(now - 9 * DAY) not in await partitions_of(database)
    assert await database.fetchval("SELECT count(*) FROM claims") == 1


async def test_a_partition_that_is_none_of_ours_is_left_alone(engine, ledger, database, inbound):
    await database.execute(
        "CREATE TABLE events_1999 PARTITION OF events FOR VALUES FROM ('1999-01-01') TO ('2000-01-01')"
    )
    now = time.time()
    await Upkeep(engine, Partitions(30)).turn(now)
    await ledger.record([inbound.events(an_event(a_parcel(), at=now))])
    assert await placed(database) == {name(now): 1}
    assert "events_1999" in await partitions_of(database)


async def test_an_old_day_that_somebody_reads_is_dropped_later_and_holds_up_nothing_else(
    engine, ledger, database, inbound, monkeypatch
):
    """As a long ``pg_dump`` does: it holds a lock on all partitions as long as it runs."""
    monkeypatch.setattr("mailwarren.tracker.adapters.partitions.LOCK_TIMEOUT", "100ms")
    now = time.time()
    parcel = a_parcel(to=["a@x.test", "b@x.test"])
    await ledger.record([inbound.parcel(parcel), inbound.events(an_event(parcel, at=now - 9 * DAY))])
    old_claim = "INSERT INTO claims VALUES (gen_random_uuid(), 1, gen_random_uuid(), 0, 0, now() - interval '4 days')"
    await database.execute(old_claim)
    upkeep = Upkeep(engine, Partitions(7))
    async with database.transaction():
        await database.fetch(f"SELECT * FROM {name(now - 9 * DAY)}")
        await upkeep.turn(now)
        assert upkeep.trouble is None
        assert REGISTRY.get_sample_value(OPEN, {"lane": "normal", "state": "accepted"}) == 1
        assert await database.fetchval("SELECT count(*) FROM claims") == 0
        assert name(now + DAY) in await partitions_of(database)
    await upkeep.turn(now + 15)  # not at every look: inserts wait behind a lock that is asked for
    assert name(now - 9 * DAY) in await partitions_of(database)
    await upkeep.turn(now + TIDY_AGAIN)
    assert name(now - 9 * DAY) not in await partitions_of(database)
