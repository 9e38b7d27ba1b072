"""Gauges, mail that was never confirmed, and a database that comes and goes beside the consumer."""

import asyncio
import time

import msgspec
import pytest
from prometheus_client import REGISTRY

from mailwarren.contracts.events import Kind
from mailwarren.contracts.lanes import BUDGETS, Lane
from mailwarren.contracts.testing import a_parcel, an_event
from mailwarren.tracker.adapters.partitions import Partitions
from mailwarren.tracker.domain.read import Source
from mailwarren.tracker.upkeep import OVERDUE_AFTER, UNCONFIRMED_FOR, Upkeep

pytestmark = pytest.mark.postgres


def gauge(lane, state):
    return REGISTRY.get_sample_value("mailwarren_tracker_deliveries_open", {"lane": lane, "state": state})


async def test_deliveries_without_an_end_are_counted_in_the_tables(engine, ledger, inbound):
    now = time.time()
    bulk = a_parcel(to=[f"u{n}@x.test" for n in range(6)], lane=Lane.BULK, accepted_at=now - 500)
    high = a_parcel(lane=Lane.HIGH, accepted_at=now - 20)
    works = [inbound.parcel(bulk), inbound.parcel(high), inbound.parcel(high, Source.DEAD)]
    works.append(inbound.events(an_event(bulk), an_event(bulk, Kind.DEFERRED, 1), an_event(bulk, Kind.HELD, 2)))
    await ledger.record(works)
    await Upkeep(engine, Partitions(30)).turn(now)
    found = (gauge("bulk", "accepted"), gauge("bulk", "deferred"), gauge("high", "accepted"), gauge("high", "parked"))
    assert found == (3, 1, 0, 1)
    oldest = [REGISTRY.get_sample_value("mailwarren_tracker_oldest_open_seconds", {"lane": lane}) for lane in Lane]
    assert oldest == [pytest.approx(20, abs=10), 0, pytest.approx(500, abs=10)]


async def test_deliveries_are_overdue_ten_minutes_after_the_budget_of_their_lane(engine, ledger, inbound):
    now = time.time()
    works = []
    for lane, age in (
        (Lane.HIGH, BUDGETS[Lane.HIGH] + OVERDUE_AFTER + 30),
        (Lane.NORMAL, BUDGETS[Lane.NORMAL] + OVERDUE_AFTER - 30),
        (Lane.BULK, BUDGETS[Lane.BULK] + OVERDUE_AFTER + 30),
    ):
        parcel = a_parcel(to=[f"{name}@x.test" for name in "abc"], lane=lane, accepted_at=now - age)
        works += [inbound.parcel(parcel), inbound.events(an_event(parcel, Kind.DEFERRED), an_event(parcel, index=1))]
    waiting = a_parcel(lane=Lane.BULK, accepted_at=now - 10 * BUDGETS[Lane.BULK])
    works += [inbound.parcel(waiting), inbound.parcel(waiting, Source.DEAD)]
    await ledger.record(works)
    await Upkeep(engine, Partitions(30)).turn(now)
    overdue = [REGISTRY.get_sample_value("mailwarren_tracker_deliveries_overdue", {"lane": lane}) for lane in Lane]
    assert overdue == [2, 0, 2]  # one of each three is delivered, the parked one waits for a person


def unconfirmed(parcel, at):
    return an_event(parcel, Kind.UNCONFIRMED, attempt=0, tried=None, at=at, accepted_at=at)


async def test_what_nobody_confirmed_and_no_sender_had_ends_with_the_time_in_which_it_could_be_sent(
    engine, ledger, database, inbound
):
    now = time.time()
    due, early = now - UNCONFIRMED_FOR - 1, now - UNCONFIRMED_FOR + 60
    names = ["alone", "accepted", "recent", "started", "parked"]
    alone, accepted, recent, started, parked = parcels = [a_parcel(to=[f"{name}@x.test"]) for name in names]
    works = [inbound.events(unconfirmed(one, early if one is recent else due)) for one in parcels]
    works += [inbound.parcel(msgspec.structs.replace(accepted, accepted_at=due))]
    works += [inbound.events(an_event(started, Kind.STARTED)), inbound.parcel(parked, Source.DEAD)]
    await ledger.record(works)
    upkeep = Upkeep(engine, Partitions(30))
    for _ in range(2):
        await upkeep.turn(now)
    rows = await database.fetch("SELECT split_part(address, '@', 1), state, ended_at IS NOT NULL FROM deliveries")
    assert {row[0]: (row[1], row[2]) for row in rows} == {
        "alone": ("failed", True),
        "accepted": ("failed", True),
        "recent": ("unconfirmed", False),
        "started": ("accepted", False),
        "parked": ("parked", False),
    }
    events = await database.fetch("SELECT delivery_id, attempt, reason FROM events WHERE kind = 'failed'")
    assert {row[0] for row in events} == {alone.deliveries[0].id, accepted.deliveries[0].id}
    assert all("never confirmed" in row[2] and row[1] == 0 for row in events)
    assert await database.fetchval("SELECT sum(count) FROM stats_minute WHERE kind = 'failed'") == 2
    # A sender that had it all the same has the last word, as with any other mail that was delivered after its end.
    await ledger.record([inbound.events(an_event(alone, at=now + 5))])
    state = "SELECT state FROM deliveries WHERE address = 'alone@x.test'"
    assert await database.fetchval(state) == "delivered"


async def test_more_than_a_batch_of_unconfirmed_ends_in_one_turn(engine, ledger, database, inbound, monkeypatch):
    monkeypatch.setattr("mailwarren.tracker.adapters.unconfirmed.AT_ONCE", 2)
    monkeypatch.setattr("mailwarren.tracker.upkeep.AT_ONCE", 2)
    now = time.time()
    parcel = a_parcel(to=[f"u{n}@x.test" for n in range(5)], lane=Lane.HIGH)
    late = [
        an_event(parcel, Kind.UNCONFIRMED, n, attempt=0, tried=None, at=now - 50, accepted_at=now - 50)
        for n in range(5)
    ]
    await ledger.record([inbound.events(*late)])
    await Upkeep(engine, Partitions(30), unconfirmed_for=20.0).turn(now)
    assert await database.fetchval("SELECT count(*) FROM deliveries WHERE state = 'failed'") == 5


async def test_a_delivery_that_a_sender_reports_at_this_moment_is_not_ended(engine, ledger, database, inbound):
    now = time.time()
    parcel = a_parcel()
    await ledger.record([inbound.events(unconfirmed(parcel, now - UNCONFIRMED_FOR - 1))])
    async with database.transaction():
        await database.execute("SELECT FROM deliveries FOR UPDATE")  # as the recording of the report does
        await Upkeep(engine, Partitions(30)).turn(now)
    assert await database.fetchval("SELECT state FROM deliveries") == "unconfirmed"


async def test_unconfirmed_deliveries_are_counted_but_not_old(engine, ledger, inbound):
    now = time.time()
    await ledger.record(
        [inbound.events(unconfirmed(a_parcel(), now - 9000)), inbound.parcel(a_parcel(accepted_at=now - 50))]
    )
    await Upkeep(engine, Partitions(30)).turn(now)
    assert (gauge("normal", "unconfirmed"), gauge("normal", "accepted")) == (1, 1)
    oldest = REGISTRY.get_sample_value("mailwarren_tracker_oldest_open_seconds", {"lane": "normal"})
    assert oldest == pytest.approx(50, abs=10)


async def test_a_database_that_ends_sessions_or_forgets_its_tables_does_not_end_the_upkeep(
    engine, database, eventually, monkeypatch
):
    monkeypatch.setattr("mailwarren.tracker.upkeep.LOOK_EVERY", 0.02)
    stop, upkeep = asyncio.Event(), Upkeep(engine, Partitions(30))
    task = asyncio.create_task(upkeep.run(stop))
    for _ in range(5):
        await database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        await asyncio.sleep(0.05)
    await database.execute("ALTER TABLE deliveries RENAME TO gone")
    await eventually(lambda: upkeep.trouble is not None)
    await database.execute("ALTER TABLE gone RENAME TO deliveries")
    await eventually(lambda: upkeep.trouble is None)
    stop.set()
    await task
