"""The consumer over real queues, in this process."""

import asyncio
import uuid
from contextlib import asynccontextmanager

import aio_pika
import pytest
from msgspec.structs import replace

from mailwarren.contracts import codec
from mailwarren.contracts.events import Cancel, Kind, Outcomes
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Wait
from mailwarren.contracts.settle import Question, Verdict
from mailwarren.contracts.testing import TENANT, a_content, a_parcel, an_attempt, an_event
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.tracker.adapters.broker import BrokerOutbox, queues_of
from mailwarren.tracker.adapters.inbox import QueueInbox
from mailwarren.tracker.consume import Consumer
from mailwarren.tracker.record import Recorder

pytestmark = [pytest.mark.broker, pytest.mark.postgres]


class Tracker:
    """What ``tracker consume`` is made of."""

    def __init__(self, url, topology, ledger, prefetch=100, budget=2**26):
        queues = queues_of(topology)
        self.stop = asyncio.Event()
        self.link = Link(url, "tracker")
        publisher = Publisher(self.link)
        self.inbox = QueueInbox(self.link, queues, prefetch, budget)
        abandon = lambda message: self.stop.is_set() or not self.inbox.current(message)  # noqa: E731
        self.recorder = Recorder(ledger, BrokerOutbox(self.link, publisher, topology), abandon)
        self.consumer = Consumer(self.inbox, self.recorder, limit=1000, wait=0.05, ours=queues)

    @asynccontextmanager
    async def running(self):
        async with self.link:
            task = asyncio.create_task(self.consumer.run(self.stop))
            async with asyncio.timeout(10):
                await self.link.wait_up()
            yield self
            self.stop.set()
            await task
            await self.inbox.close()


@pytest.fixture
def tracker(broker, topology, ledger):
    return Tracker(broker.url, topology, ledger)


@pytest.fixture
def state_of(database):
    async def state_of(delivery):
        return await database.fetchval("SELECT state FROM deliveries WHERE id = $1", delivery.id)

    return state_of


async def test_all_queues_lead_into_the_tables_and_are_empty_afterwards(
    tracker, broker, topology, database, eventually
):
    parcels = [a_parcel(to=[f"u{n}-{m}@x.test" for m in range(5)], lane=lane) for n in range(4) for lane in Lane]
    parcels = [replace(parcel, partition=n) for n, parcel in enumerate(parcels)]
    async with tracker.running():
        await broker.accept(*parcels)
        for parcel in parcels:
            await broker.tell(Outcomes(tuple(an_event(parcel, index=n) for n in range(3))), parcel.partition)
            last = an_attempt(1)
            left = tuple(replace(delivery, last=last) for delivery in parcel.deliveries[3:])
            await broker.defer(replace(parcel, deliveries=left, attempt=2, wait=Wait.DEFERRED, not_before=last.at + 5))
        count = "SELECT count(*) FROM deliveries WHERE state = $1 AND accepted_at IS NOT NULL"
        await eventually(lambda: database.fetchval(f"SELECT ({count}) = 36", "delivered"))
        await eventually(lambda: database.fetchval(f"SELECT ({count}) = 24", "deferred"))
    assert sum(broker.depth(queue) for queue in [*topology.tracker_queues, topology.dead_queue]) == 0


async def test_a_question_is_answered_on_the_askers_queue(tracker, broker, eventually):
    parcel = a_parcel(to=["a@x.test", "b@x.test"])
    connection = await aio_pika.connect(broker.url)
    async with connection, tracker.running():
        channel = await connection.channel()
        mine = await channel.declare_queue(exclusive=True)
        asked = Question(uuid.uuid4(), uuid.uuid4(), mine.name, tuple(d.id for d in parcel.deliveries), 1)
        await broker.tell(Outcomes((an_event(parcel),)))
        await broker.tell(asked)
        message = await eventually(lambda: mine.get(fail=False))
        answer = codec.decode_answer(message.body, message.headers)
        assert answer.question == asked.id
        assert answer.verdicts == (Verdict.DONE, Verdict.UNTOUCHED)


async def test_an_asker_that_is_gone_stops_nothing(tracker, broker, state_of, eventually):
    parcel = a_parcel()
    async with tracker.running():
        for reply_to in ("nobody", "x" * 300):
            await broker.tell(Question(uuid.uuid4(), uuid.uuid4(), reply_to, (parcel.deliveries[0].id,), 1))
        await broker.tell(Outcomes((an_event(parcel),)))
        await eventually(lambda: state_of(parcel.deliveries[0]))


async def test_a_cancel_comes_through_the_control_log(tracker, broker, topology, database, eventually):
    parcel = a_parcel()
    async with tracker.running():
        await broker.accept(parcel)
        await broker.tell(Cancel(parcel.deliveries[0].email_id, TENANT, 5.0), 3, topology.control_log)
        await eventually(lambda: database.fetchval("SELECT cancel_requested_at FROM emails"))


async def test_garbage_is_set_aside_with_its_reason_and_holds_up_nobody(
    tracker, broker, topology, state_of, eventually
):
    good = a_parcel()
    async with tracker.running():
        await broker.raw(topology.accept, "bulk.h0", b"\xff\x00", {"mw-version": 1, "id": "x", "x-death": "old"})
        await broker.raw(topology.events, "4", b"{}", {})
        await broker.raw(topology.dead, "any.key", b"not ours", {})
        await broker.accept(good)
        await eventually(lambda: state_of(good.deliveries[0]))
        await eventually(lambda: broker.depth(topology.dead_queue) == 3)
        await asyncio.sleep(0.3)  # the copies in tracker.dead come back to the tracker, and must not go round
    dead = {headers.get("mw-from"): (body, headers) for body, headers in broker.drain(topology.dead_queue)}
    assert broker.depth(topology.tracker_dead_queue) == 0
    prefix = topology.prefix
    tracker_queues = {f"{prefix}tracker.{name}" for name in ("accepted.bulk", "events.4")}
    assert set(dead) == {*tracker_queues, None}
    body, headers = dead[f"{prefix}tracker.accepted.bulk"]
    assert body == b"\xff\x00"
    assert headers["mw-reason"].startswith("undecodable: ")
    assert (headers["mw-key"], headers["mw-exchange"], headers["id"]) == ("bulk.h0", topology.accept.name, "x")
    assert "x-death" not in headers


async def test_a_row_that_postgres_refuses_is_set_aside_and_the_batch_goes_on(
    tracker, broker, topology, database, eventually
):
    good = [a_parcel(to=[f"u{n}@x.test"]) for n in range(9)]
    bad = a_parcel(content=a_content(subject="a\0b"))
    await broker.accept(*good[:5], bad, *good[5:])
    await broker.tell(Outcomes((an_event(good[0], reason="\0"), an_event(good[1]))))
    await broker.tell(Outcomes((an_event(good[2]),)))
    async with tracker.running():
        await eventually(lambda: database.fetchval("SELECT count(*) = 9 FROM deliveries WHERE accepted_at IS NOT NULL"))
        await eventually(lambda: broker.depth(topology.dead_queue) == 2)
        await eventually(lambda: database.fetchval("SELECT count(*) = 2 FROM deliveries WHERE state = 'delivered'"))
        await asyncio.sleep(0.3)
    dead = broker.drain(topology.dead_queue)
    [alone] = [body for body, headers in dead if headers["mw-type"] == "outcomes"]
    assert len(codec.decode_tracker(alone, codec.headers_of(Outcomes(()))).events) == 1
    assert all(headers["mw-reason"].startswith("refused: ") for _, headers in dead)
    # The parcel's other copy is on its way to a sender: it is not parked.
    assert await database.fetchval("SELECT count(*) FROM deliveries WHERE state = 'parked'") == 0
    assert broker.depth(topology.tracker_dead_queue) == 0


async def test_a_dead_letter_is_recorded_as_parked(tracker, broker, topology, state_of, eventually):
    parcel = a_parcel()
    headers = codec.parcel_headers(parcel) | {"mw-reason": "KeyError", "mw-from": "send.normal.h0"}
    async with tracker.running():
        await broker.accept(parcel)
        await broker.raw(topology.dead, "normal.h0", codec.encode_parcel(parcel), headers)

        async def parked():
            return await state_of(parcel.deliveries[0]) == "parked"

        await eventually(parked)
    assert broker.depth(topology.dead_queue) == 1


@pytest.mark.parametrize("budget", [2**26, 30_000])
async def test_a_lost_connection_repeats_and_loses_nothing(broker, database, topology, ledger, eventually, budget):
    tracker = Tracker(broker.url, topology, ledger, budget=budget)
    parcels = [a_parcel(to=[f"u{n}-{m}@x.test" for m in range(10)], lane=Lane.BULK) for n in range(60)]
    async with tracker.running():

        async def break_it():
            for _ in range(4):
                await asyncio.sleep(0.15)
                await tracker.link._connection.close()
                await eventually(lambda: tracker.link.up)

        breaking = asyncio.create_task(break_it())
        for n in range(0, 60, 6):
            await broker.accept(*parcels[n : n + 6])
            for parcel in parcels[n : n + 6]:
                await broker.tell(Outcomes(tuple(an_event(parcel, index=m) for m in range(10))), n % 16)
            await asyncio.sleep(0.05)
        await breaking
        sql = "SELECT count(*) = 600 FROM deliveries WHERE state = 'delivered' AND accepted_at IS NOT NULL"
        await eventually(lambda: database.fetchval(sql))
    assert sum(broker.depth(queue) for queue in topology.tracker_queues) == 0
    counted = await database.fetch("SELECT kind, sum(count)::int FROM stats_minute GROUP BY kind")
    assert {row[0]: row[1] for row in counted} == {"accepted": 600, "delivered": 600}


async def test_a_queue_that_is_deleted_and_made_again_is_consumed_again(
    tracker, broker, topology, state_of, eventually
):
    import kombu

    parcel = a_parcel()
    queue = topology.events_queue(9)
    async with tracker.running():
        epoch = tracker.link.epoch
        with kombu.Connection(broker.url) as connection:
            connection.default_channel.queue_delete(queue.name)
            await eventually(lambda: not tracker.link.up)
            queue(connection.default_channel).declare()
        await eventually(lambda: tracker.link.up and tracker.link.epoch > epoch)
        await broker.tell(Outcomes((an_event(parcel, Kind.FAILED),)), 9)
        await eventually(lambda: state_of(parcel.deliveries[0]))


async def test_a_graceful_stop_keeps_the_order_of_a_partition(broker, topology, engine, database, eventually):
    """Outcomes before questions, tracker after tracker: no answer may miss what stands in front of its question."""
    from mailwarren.tracker.adapters.partitions import Partitions
    from mailwarren.tracker.adapters.store import PostgresLedger

    parcels = [a_parcel(to=[f"u{n}@x.test"]) for n in range(400)]
    connection = await aio_pika.connect(broker.url)
    async with connection:
        channel = await connection.channel()
        mine = await channel.declare_queue(exclusive=True)
        pairs = [
            (Outcomes((an_event(p),)), Question(uuid.uuid4(), uuid.uuid4(), mine.name, (p.deliveries[0].id,), 1))
            for p in parcels
        ]
        await asyncio.gather(*(broker.tell(value) for pair in pairs for value in pair))
        answers = []
        for _ in range(12):
            ledger = PostgresLedger(engine, Partitions(30))
            one = Tracker(broker.url, topology, ledger, prefetch=40)
            one.consumer._limit = 15
            async with one.running():
                await asyncio.sleep(0.03)
            await ledger.close()
        ledger = PostgresLedger(engine, Partitions(30))
        async with Tracker(broker.url, topology, ledger).running():
            await eventually(lambda: database.fetchval("SELECT count(*) = 400 FROM deliveries"))

            async def answered():
                while message := await mine.get(fail=False, no_ack=True):
                    answers.append(codec.decode_answer(message.body, message.headers))
                return len(answers) >= 400

            await eventually(answered)
        await ledger.close()
    assert {answer.verdicts for answer in answers} == {(Verdict.DONE,)}


async def test_more_octets_than_may_be_in_hand_change_the_prefetch_and_neither_order_nor_counts(
    broker, topology, ledger, database, eventually, monkeypatch
):
    monkeypatch.setattr("mailwarren.tracker.domain.prefetch.CALM", 0.3)
    tracker = Tracker(broker.url, topology, ledger, budget=150_000)
    tracker.consumer._limit = 20
    large = [a_parcel(to=[f"u{n}@x.test"], content=a_content(html="x" * 20_000)) for n in range(40)]
    small = [a_parcel(to=[f"v{n}@x.test"]) for n in range(200)]
    await broker.accept(*large)
    await asyncio.gather(*(broker.tell(Outcomes((an_event(p),)), n % 16) for n, p in enumerate(large)))
    done = "SELECT count(*) = $1 FROM deliveries WHERE state = 'delivered' AND accepted_at IS NOT NULL"
    async with tracker.running():
        epoch = tracker.link.epoch
        await eventually(lambda: database.fetchval(done, 40))
        assert tracker.inbox._prefetch.now < 100

        async def trickle():
            parcel = small.pop()
            await broker.accept(parcel)
            await broker.tell(Outcomes((an_event(parcel),)))
            return tracker.inbox._prefetch.now == 100

        await eventually(trickle)
        await eventually(lambda: database.fetchval(done, 40 + 200 - len(small)))
        await eventually(lambda: tracker.inbox._octets == 0)
        assert tracker.link.epoch == epoch  # the connection stays
    assert sum(broker.depth(queue) for queue in topology.tracker_queues) == 0
    counted = await database.fetch("SELECT kind, sum(count)::int FROM stats_minute GROUP BY kind")
    assert {row[0]: row[1] for row in counted} == {"accepted": 240 - len(small), "delivered": 240 - len(small)}
