"""Gauges, and a database that comes and goes beside the consumer."""

import asyncio

import pytest
from prometheus_client import REGISTRY

from mailwarren.contracts.events import Kind
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.testing import a_parcel, an_event
from mailwarren.tracker.adapters.partitions import Partitions
from mailwarren.tracker.domain.read import Source
from mailwarren.tracker.upkeep import Upkeep

pytestmark = pytest.mark.postgres


def gauge(lane, state):
    return REGISTRY.get_sample_value("mailwarren_tracker_deliveries_open", {"lane": lane, "state": state})


async def test_deliveries_without_an_end_are_counted_in_the_tables(engine, ledger, inbound):
    import time

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
    await eventually(lambda: not upkeep.available)
    await database.execute("ALTER TABLE gone RENAME TO deliveries")
    await eventually(lambda: upkeep.available)
    stop.set()
    await task
