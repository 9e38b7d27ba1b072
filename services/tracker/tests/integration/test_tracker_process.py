"""``tracker consume`` as a process: killed, stopped, without its database, before its schema."""

import asyncio
import json
import signal
import time
import uuid
from functools import partial

import aio_pika
import asyncpg
import pytest
from msgspec.structs import replace

from mailwarren.contracts import codec
from mailwarren.contracts.events import Kind, Outcomes
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Wait
from mailwarren.contracts.reply import Reply
from mailwarren.contracts.settle import Question
from mailwarren.contracts.testing import TENANT, a_content, a_parcel, an_attempt, an_event
from mailwarren.store import migrate
from mailwarren.store.engine import dsn

pytestmark = [pytest.mark.broker, pytest.mark.postgres]


def traffic(parcels):
    """A delivered half, a deferred quarter and a bounced quarter of each parcel, as the queues see it."""
    for parcel in parcels:
        last = an_attempt(1, Reply(450, "later"))
        half, quarter = len(parcel.deliveries) // 2, len(parcel.deliveries) // 4
        outcomes = [an_event(parcel, index=n) for n in range(half)]
        outcomes += [an_event(parcel, "bounced", n, tried=None) for n in range(half, half + quarter)]
        left = tuple(replace(delivery, last=last) for delivery in parcel.deliveries[half + quarter :])
        yield parcel, Outcomes(tuple(outcomes)), replace(parcel, deliveries=left, attempt=2, wait=Wait.DEFERRED)


async def publish(broker, parcels):
    for parcel, outcomes, deferral in traffic(parcels):
        await asyncio.gather(broker.accept(parcel), broker.tell(outcomes, parcel.partition), broker.defer(deferral))


async def exact(connection, parcels):
    """Whether the tables hold exactly what was published, every row and every count once."""
    total = sum(len(parcel.deliveries) for parcel in parcels)
    expected = {"delivered": total // 2, "bounced": total // 4, "deferred": total // 4}
    rows = await connection.fetch(
        "SELECT state, count(*)::int FROM deliveries WHERE accepted_at IS NOT NULL GROUP BY state"
    )
    if {row[0]: row[1] for row in rows} != expected:
        return False
    assert await connection.fetchval("SELECT count(*) FROM deliveries") == total
    assert await connection.fetchval("SELECT count(*) FROM emails") == total
    events = await connection.fetch("SELECT kind, count(*)::int FROM events GROUP BY kind")
    assert {row[0]: row[1] for row in events} == expected
    stats = await connection.fetch("SELECT kind, sum(count)::int FROM stats_minute GROUP BY kind")
    assert {row[0]: row[1] for row in stats} == {"accepted": total, **expected}
    return True


def some_parcels(count, size=20):
    content = a_content()
    return [
        a_parcel(to=[f"u{n}-{m}@x.test" for m in range(size)], lane=Lane.BULK, content=content, partition=n % 16)
        for n in range(count)
    ]


async def test_killed_again_and_again_in_the_middle_of_batches_it_leaves_exact_rows(
    start, broker, database, eventually
):
    parcels = some_parcels(90)
    await publish(broker, parcels)
    for _ in range(3):
        process = await start(MAILWARREN_TRACKER_BATCH_ROWS="60")
        before = await database.fetchval("SELECT count(*) FROM deliveries")
        sql = f"SELECT count(*) > {before} FROM deliveries"
        await eventually(partial(database.fetchval, sql), 20)
        assert await process.kill() == -signal.SIGKILL
        assert not await exact(database, parcels), "it was done before it was killed"
    await start()
    await eventually(lambda: exact(database, parcels), 30)


async def test_sigterm_finishes_the_batch_and_ends_with_success(start, broker, topology, database, eventually):
    parcels = some_parcels(60)
    process = await start(MAILWARREN_TRACKER_BATCH_ROWS="50")
    await eventually(process.ready)
    publishing = asyncio.create_task(publish(broker, parcels))
    await eventually(lambda: database.fetchval("SELECT count(*) > 0 FROM deliveries"))
    assert await process.terminate() == 0
    rows = await database.fetchval("SELECT count(*) FROM deliveries WHERE accepted_at IS NOT NULL")
    await publishing
    # What is in the tables is acked: only the rest is still in the queue.
    left = 60 - rows // 20
    await eventually(lambda: broker.depth(topology.accepted_queue(Lane.BULK)) == left)
    await start()
    await eventually(lambda: exact(database, parcels), 20)


async def test_while_postgres_is_stopped_it_is_alive_but_not_ready_and_loses_nothing(
    start, broker, own_postgres, eventually
):
    await migrate.upgrade(own_postgres.database_url)
    process = await start(own_postgres.database_url)
    await eventually(process.ready, 20)
    parcels = some_parcels(60)
    await publish(broker, parcels[:20])
    await asyncio.to_thread(own_postgres.stop)
    await publish(broker, parcels[20:])

    async def unready():
        return not await process.ready()

    await eventually(unready)
    assert process.get("/healthz")[0] == 200
    await asyncio.to_thread(own_postgres.start)
    connection = await asyncpg.connect(dsn(own_postgres.database_url))
    await eventually(lambda: exact(connection, parcels), 20)
    await eventually(process.ready, 20)
    # Killed by its machine, and back after its recovery.
    more = some_parcels(20)
    await connection.close()
    await asyncio.to_thread(own_postgres.kill)
    await publish(broker, more)
    await asyncio.to_thread(own_postgres.start)
    connection = await asyncpg.connect(dsn(own_postgres.database_url))
    await eventually(lambda: exact(connection, parcels + more), 20)
    await connection.close()


async def test_sigterm_while_postgres_is_away_leaves_the_messages_to_the_broker(
    start, broker, topology, own_postgres, eventually
):
    await migrate.upgrade(own_postgres.database_url)
    process = await start(own_postgres.database_url)
    await eventually(process.ready, 20)
    await asyncio.to_thread(own_postgres.stop)
    await broker.accept(*some_parcels(5))

    async def unready():
        return not await process.ready()

    await eventually(unready)
    assert await process.terminate() == 0
    await eventually(lambda: broker.depth(topology.accepted_queue(Lane.BULK)) == 5)


async def test_it_waits_for_its_schema_and_its_metrics_tell_what_it_did(
    start, broker, topology, own_postgres, eventually
):
    parcels = some_parcels(4)
    await publish(broker, parcels)
    process = await start(own_postgres.database_url)
    await asyncio.sleep(1.5)
    assert not await process.ready()
    shown = json.loads(process.get("/readyz")[1])
    assert shown["schema"] is False
    assert "the migrations have not run" in shown["reasons"]["schema"]
    assert broker.depth(topology.accepted_queue(Lane.BULK)) == 4
    await migrate.upgrade(own_postgres.database_url)
    connection = await asyncpg.connect(dsn(own_postgres.database_url))
    await eventually(lambda: exact(connection, parcels), 20)
    await connection.close()
    # The ack follows the commit.
    await eventually(lambda: 'mailwarren_tracker_messages_total{source="accepted"} 4.0' in process.get("/metrics")[1])
    text = (await asyncio.to_thread(process.get, "/metrics"))[1]
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    prefix = "mailwarren_tracker"
    assert float(values[f'{prefix}_accepted_total{{lane="bulk"}}']) == 80
    assert float(values[f'{prefix}_events_total{{kind="delivered",lane="bulk"}}']) == 40
    assert float(values[f'{prefix}_accept_to_250_seconds_count{{lane="bulk"}}']) == 40


async def test_its_spans_are_those_of_the_senders(start, broker, topology, ledger, inbound, database, eventually):
    """Settings that all processes share: the retry scale, and the final-dot timeout, after which a claim runs out."""
    long_ago = time.time() - 3600
    report = an_event(a_parcel(), Kind.UNCONFIRMED, attempt=0, tried=None, at=long_ago, accepted_at=long_ago)
    await ledger.record([inbound.events(report)])
    process = await start(MAILWARREN_RETRY_SCALE="0.01", MAILWARREN_DOT_TIMEOUT="0.5")
    await eventually(process.ready)
    await eventually(lambda: database.fetchval("SELECT state = 'failed' FROM deliveries"))

    connection = await aio_pika.connect(broker.url)
    async with connection:
        channel = await connection.channel()
        mine = await channel.declare_queue(exclusive=True)

        async def ask(**about):
            asked = Question(new_id(), uuid.uuid4(), mine.name, (TENANT,), 1, **about)
            await broker.tell(asked)
            message = await eventually(lambda: mine.get(fail=False, no_ack=True))
            return codec.decode_answer(message.body, message.headers).verdicts[0].value

        assert [await ask(count=1), await ask(turn=1)] == ["untouched", "claimed"]
        await asyncio.sleep(1.1)
        assert await ask(turn=1) == "untouched"
