"""A crash at every step of a batch, and trackers that get in each other's way."""

import asyncio
import random
import uuid
from collections import Counter
from contextlib import asynccontextmanager

import asyncpg
import pytest
from msgspec.structs import replace

from mailwarren.contracts.events import Cancel, Kind
from mailwarren.contracts.ids import event_id
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Wait
from mailwarren.contracts.reply import Reply
from mailwarren.contracts.settle import Question
from mailwarren.contracts.testing import TENANT, a_delivery, a_parcel, an_attempt, an_event
from mailwarren.contracts.tls import TlsPolicy, TlsSession
from mailwarren.contracts.tracking import Hit, HitKind, Hits
from mailwarren.store.engine import dsn, make_engine
from mailwarren.tracker.adapters.partitions import Partitions
from mailwarren.tracker.adapters.store import PostgresLedger
from mailwarren.tracker.domain.read import Source
from mailwarren.tracker.ports import Refused, Unavailable

pytestmark = pytest.mark.postgres


class Dying:
    """An asyncpg connection that breaks at its n-th step; a commit has a step before and one after it."""

    def __init__(self, raw, fuse):
        self.raw = raw
        self.fuse = fuse

    def step(self):
        self.fuse[0] -= 1
        if self.fuse[0] == 0:
            self.raw.terminate()
            raise ConnectionResetError("the power is gone")

    async def fetch(self, *values):
        self.step()
        return await self.raw.fetch(*values)

    async def fetchval(self, *values):
        self.step()
        return await self.raw.fetchval(*values)

    async def execute(self, *values):
        self.step()
        return await self.raw.execute(*values)

    async def copy_records_to_table(self, *values, **named):
        self.step()
        return await self.raw.copy_records_to_table(*values, **named)

    @asynccontextmanager
    async def transaction(self):
        self.step()
        async with self.raw.transaction():
            yield
            self.step()
        self.step()


class DyingLedger(PostgresLedger):
    """A ledger over connections that die when the fuse has burnt down."""

    def __init__(self, engine, fuse):
        super().__init__(engine, Partitions(30))
        self.fuse = fuse

    async def _connected(self):
        raw, fresh = await super()._connected()
        return Dying(raw, self.fuse), fresh


def a_batch(inbound):
    """Every kind of work, with an outcome that overtakes its acceptance."""
    parcel = a_parcel(to=[f"u{n}@x.test" for n in range(4)], lane=Lane.BULK)
    parcel = replace(parcel, deliveries=(*parcel.deliveries, a_delivery("no@x.test", suppressed=True)))
    ahead = a_parcel(to=["ahead@x.test"])
    last = an_attempt(1, Reply(450, "later"))
    deferral = replace(
        parcel,
        attempt=2,
        wait=Wait.DEFERRED,
        deliveries=tuple(replace(delivery, last=last) for delivery in parcel.deliveries[:2]),
        not_before=last.at + 60,
    )
    unheard = uuid.UUID(int=77)
    negotiated = replace(an_attempt(1), sessions=(TlsSession("x.test", TlsPolicy.STS, ""),))
    read = parcel.deliveries[2]
    seen = Hit(uuid.UUID(int=8), HitKind.OPENED, read.id, read.email_id, TENANT, last.at + 3600, parcel.accepted_at)
    return [
        inbound.parcel(parcel),
        inbound.parcel(deferral, Source.EVENTS),
        inbound.events(an_event(parcel, index=2, tried=negotiated), an_event(parcel, Kind.BOUNCED, 3, suppress=True)),
        inbound.events(an_event(ahead)),
        inbound.value(Hits((seen, replace(seen, id=uuid.UUID(int=9), kind=HitKind.CLICKED, link="https://x.test")))),
        inbound.value(Cancel(parcel.deliveries[0].email_id, TENANT, 100.0)),
        inbound.value(Cancel(unheard, TENANT, 100.0)),
        inbound.value(Question(uuid.UUID(int=5), uuid.UUID(int=6), "q", (parcel.deliveries[1].id, unheard), 2)),
        inbound.parcel(replace(parcel, deliveries=parcel.deliveries[1:2], attempt=2), Source.DEAD),
    ]


async def test_a_crash_at_any_step_leaves_exact_rows_after_the_repetition(engine, ledger, inbound, snapshot, empty):
    batch = a_batch(inbound)
    answers = (await ledger.record(batch)).answers
    expected = await snapshot()
    assert [table for table, rows in expected.items() if not rows] == ["shaping_overrides"]  # no batch writes it
    steps = 0
    for fuse in range(1, 100):
        await empty()
        burning = [fuse]
        dying = DyingLedger(engine, burning)
        try:
            await dying.record(batch)
        except Unavailable:
            between = await snapshot()
            assert between == expected or not any(between.values()), f"half a batch after step {fuse}"
            again = await dying.record(batch)
            assert await snapshot() == expected, f"after a crash at step {fuse}"
            assert again.answers == answers
            steps += 1
        finally:
            await dying.close()
        if burning[0] > 0:
            break
    assert steps >= 18


async def test_a_server_that_ends_our_session_is_a_reason_to_try_again(ledger, database, inbound, snapshot):
    batch = a_batch(inbound)
    await ledger.record(batch)
    expected = await snapshot()
    await database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    with pytest.raises(Unavailable):
        await ledger.record(batch)
    await ledger.record(batch)
    assert await snapshot() == expected


async def test_a_bug_of_ours_sets_its_message_aside_once_a_new_connection_has_not_helped(
    ledger, inbound, snapshot, monkeypatch
):
    def broken(*_):
        raise ZeroDivisionError

    batch = a_batch(inbound)
    await ledger.record(batch[:1])
    before = await snapshot()
    monkeypatch.setattr("mailwarren.tracker.adapters.reports.fold", broken)
    with pytest.raises(Unavailable):
        await ledger.record(batch)
    with pytest.raises(Refused):
        await ledger.record(batch)
    assert await snapshot() == before


async def until_done(ledger, batch):
    while True:
        try:
            return await ledger.record(batch)
        except Unavailable:
            await asyncio.sleep(0.01)


async def test_trackers_side_by_side_count_everything_once(database_url, database, inbound):
    rng = random.Random(4)
    parcels = [a_parcel(to=[f"u{n}-{m}@x.test" for m in range(8)], lane=Lane.BULK) for n in range(30)]
    works = []
    expected = Counter()
    for parcel in parcels:
        works.append(inbound.parcel(parcel))
        events = []
        for index, delivery in enumerate(parcel.deliveries):
            kind = rng.choice([Kind.DELIVERED, Kind.BOUNCED, Kind.EXPIRED])
            expected[kind] += 1
            busy = an_event(parcel, Kind.DEFERRED, index, at=parcel.accepted_at + 1)
            end = replace(an_event(parcel, kind, index), attempt=2, id=event_id(delivery.id, 2, kind))
            events += [busy, end]
        works += [inbound.events(*events[n : n + 4]) for n in range(0, len(events), 4)]
    ledgers, engines = [], []
    for _ in range(4):
        engines.append(make_engine(database_url))
        ledgers.append(PostgresLedger(engines[-1], Partitions(30)))

    async def one(ledger):
        mine = works * 2
        rng.shuffle(mine)
        return [await until_done(ledger, mine[n : n + 12]) for n in range(0, len(mine), 12)]

    results = await asyncio.gather(*(one(ledger) for ledger in ledgers))
    recorded = [result for one in results for result in one]
    for ledger, engine in zip(ledgers, engines, strict=True):
        await ledger.close()
        await engine.dispose()
    rows = await database.fetch("SELECT state, count(*)::int, count(accepted_at)::int FROM deliveries GROUP BY state")
    assert {row[0]: row[1] for row in rows} == dict(expected)
    assert sum(row[2] for row in rows) == 240
    stats = await database.fetch("SELECT kind, sum(count)::int FROM stats_minute GROUP BY kind")
    assert {row[0]: row[1] for row in stats} == {"accepted": 240, "deferred": 240, **expected}
    assert await database.fetchval("SELECT count(*) FROM events") == 480
    assert sum(len(result.accepted) for result in recorded) == 240
    assert sum(len(result.events) for result in recorded) == 480
    assert sum(len(result.delivered) for result in recorded) == expected[Kind.DELIVERED]


async def test_a_row_that_another_tracker_inserts_meanwhile_is_found_the_second_time(
    database_url, ledger, database, inbound, eventually
):
    parcel = a_parcel()
    [delivery] = parcel.deliveries
    other = await asyncpg.connect(dsn(database_url))
    transaction = other.transaction()
    await transaction.start()
    await other.execute(
        "INSERT INTO deliveries (id, email_id, tenant, address, lane, state, attempt, updated_at, ended_at) "
        "VALUES ($1, $2, $3, 'bob@example.test', 'normal', 'bounced', 1, now(), to_timestamp(100))",
        delivery.id, delivery.email_id, TENANT,
    )  # fmt: skip
    task = asyncio.create_task(ledger.record([inbound.parcel(parcel), inbound.events(an_event(parcel))]))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    await eventually(lambda: database.fetchval(waiting))
    await transaction.commit()
    await other.close()
    recorded = await task
    assert (recorded.accepted, len(recorded.events), len(recorded.delivered)) == ([parcel], 1, 1)
    row = await database.fetchrow("SELECT state, accepted_at IS NOT NULL, shard FROM deliveries")
    assert tuple(row) == ("delivered", True, parcel.shard)
    stats = await database.fetch("SELECT kind, count::int FROM stats_minute")
    assert {row[0]: row[1] for row in stats} == {"accepted": 1, "delivered": 1}


async def test_a_cancel_and_the_acceptance_that_it_overtakes_always_meet(database_url, database, inbound):
    engines = [make_engine(database_url) for _ in range(2)]
    one, other = (PostgresLedger(engine, Partitions(30)) for engine in engines)
    for _ in range(40):
        parcel = a_parcel()
        cancel = Cancel(parcel.deliveries[0].email_id, TENANT, 100.0)
        await asyncio.gather(until_done(one, [inbound.parcel(parcel)]), until_done(other, [inbound.value(cancel)]))
    assert await database.fetchval("SELECT count(*) FROM emails WHERE cancel_requested_at IS NULL") == 0
    for ledger, engine in ((one, engines[0]), (other, engines[1])):
        await ledger.close()
        await engine.dispose()
