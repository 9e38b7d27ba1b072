"""Batches, acks and stops, with an inbox that redelivers as a broker does."""

import asyncio
import uuid

import pytest

from mailwarren.contracts import codec
from mailwarren.contracts.events import Outcomes
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.settle import Question
from mailwarren.contracts.testing import a_parcel, an_event
from mailwarren.tracker import consume
from mailwarren.tracker.consume import Consumer
from mailwarren.tracker.domain.read import Message, Source
from mailwarren.tracker.record import Abandoned


class FakeInbox:
    """A channel: messages with rising tags, and an epoch that a reconnect raises."""

    def __init__(self):
        self.epoch = 1
        self.ready = []
        self.acked = []
        self.tag = 0
        self.unacked = []
        self.left = []
        self.on_leave = None

    def leave(self, message, why):
        self.left.append((message.tag, why))
        self.on_leave()

    def put(self, *values, source=Source.EVENTS, headers=None):
        for value in values:
            self.tag += 1
            message = Message(
                source, "q", codec.encode(value), headers or codec.headers_of(value), tag=self.tag, epoch=self.epoch
            )
            self.ready.append(message)
            self.unacked.append(message)

    def reconnect(self):
        """The broker delivers everything unacked again, over a new channel."""
        self.epoch += 1
        again, self.unacked, self.ready, self.tag = self.unacked, [], [], 0
        for message in again:
            self.tag += 1
            copy = Message(message.source, "q", message.body, message.headers, tag=self.tag, epoch=self.epoch)
            self.ready.append(copy)
            self.unacked.append(copy)

    def pop(self):
        return self.ready.pop(0) if self.ready else None

    async def wait(self, seconds):
        if not self.ready:
            await asyncio.sleep(min(seconds, 0.001))

    def current(self, message):
        return message.epoch == self.epoch

    async def ack(self, message):
        if not self.current(message):
            return False
        self.acked.append(message.tag)
        self.unacked = [one for one in self.unacked if one.tag > message.tag]
        return True


class FakeRecorder:
    """Remembers the batches; ``before`` runs in the middle of each."""

    def __init__(self, before=lambda: None):
        self.batches = []
        self.dead = []
        self.before = before

    async def record(self, works):
        self.before()
        self.batches.append([work.message.tag for work in works])

    async def set_aside(self, message, kind, reason):
        self.dead.append((message.tag, kind))


def outcomes(rows=1):
    parcel = a_parcel(to=[f"u{n}@example.test" for n in range(rows)])
    return Outcomes(tuple(an_event(parcel, index=n) for n in range(rows)))


def consumer(inbox, recorder, limit=10, wait=0.02):
    return Consumer(inbox, recorder, limit=limit, wait=wait)


async def run_once(inbox, recorder, **settings):
    one = consumer(inbox, recorder, **settings)
    batch = await one.collect()
    await one.finish(batch, batch.last)


async def test_a_batch_ends_with_the_message_that_fills_it():
    inbox, recorder = FakeInbox(), FakeRecorder()
    inbox.put(outcomes(4), outcomes(4), outcomes(4), outcomes(4))
    await run_once(inbox, recorder)
    assert recorder.batches == [[1, 2, 3]]
    assert inbox.acked == [3]


async def test_a_batch_of_large_messages_ends_early(monkeypatch):
    inbox, recorder = FakeInbox(), FakeRecorder()
    inbox.put(*(outcomes() for _ in range(4)))
    monkeypatch.setattr("mailwarren.tracker.consume.BATCH_OCTETS", len(inbox.ready[0].body) + 100)
    await run_once(inbox, recorder)
    await run_once(inbox, recorder)
    assert recorder.batches == [[1, 2], [3, 4]]
    assert inbox.acked == [2, 4]


async def test_a_single_message_does_not_wait_for_others():
    inbox, recorder = FakeInbox(), FakeRecorder()
    inbox.put(outcomes())
    async with asyncio.timeout(1):
        await run_once(inbox, recorder, wait=30.0)
    assert inbox.acked == [1]


async def after(seconds, what):
    await asyncio.sleep(seconds)
    what()


async def test_a_batch_under_load_waits_for_more_and_a_small_one_does_not():
    for rows, expected in ((consume.BUSY_ROWS, [[1, 2]]), (1, [[1]])):
        inbox, recorder = FakeInbox(), FakeRecorder()
        inbox.put(outcomes(rows))
        later = asyncio.create_task(after(consume.LULL, lambda inbox=inbox: inbox.put(outcomes())))
        await run_once(inbox, recorder, limit=1000, wait=30.0)
        assert recorder.batches == expected
        await later


async def test_a_question_is_not_kept_waiting_for_company():
    inbox, recorder = FakeInbox(), FakeRecorder()
    question = Question(new_id(), uuid.uuid4(), "q", (uuid.uuid4(),), 1)
    inbox.put(outcomes(consume.BUSY_ROWS), question, outcomes())

    async def never(_):
        raise AssertionError("waited")

    inbox.wait = never
    await run_once(inbox, recorder, limit=1000, wait=30.0)
    assert recorder.batches == [[1, 2, 3]]


async def test_a_trickle_is_written_when_its_time_is_up():
    inbox, recorder = FakeInbox(), FakeRecorder()
    inbox.put(outcomes())

    async def another_comes(seconds):
        await asyncio.sleep(0.001)
        inbox.put(outcomes())

    inbox.wait = another_comes
    async with asyncio.timeout(5):
        batch = await consumer(inbox, recorder, limit=10**9, wait=0.02).collect()
    assert batch.rows > 1


async def test_what_does_not_decode_is_set_aside_and_acked_with_the_rest():
    inbox, recorder = FakeInbox(), FakeRecorder()
    inbox.put(outcomes())
    inbox.put(outcomes(), headers={"mw-version": "one"})
    inbox.put(outcomes())
    await run_once(inbox, recorder)
    assert recorder.batches == [[1, 3]]
    assert recorder.dead == [(2, "undecodable")]
    assert inbox.acked == [3]


@pytest.mark.parametrize("before", [0, 2])
async def test_a_newer_version_is_left_where_it_is_with_all_behind_it(before):
    inbox, recorder = FakeInbox(), FakeRecorder()
    inbox.put(*[outcomes() for _ in range(before)])
    inbox.put(outcomes(), headers={"mw-version": codec.VERSION + 1})
    inbox.put(outcomes())
    stop = asyncio.Event()
    inbox.on_leave = stop.set
    await consumer(inbox, recorder).run(stop)
    assert recorder.batches == [list(range(1, before + 1))] * bool(before)
    assert recorder.dead == []
    assert inbox.acked == [before] * bool(before)
    assert inbox.left == [(before + 1, f"version {codec.VERSION + 1}, this consumer knows {codec.VERSION}")]


async def test_a_message_that_meets_a_bug_of_ours_is_set_aside(monkeypatch):
    inbox, recorder = FakeInbox(), FakeRecorder()
    inbox.put(outcomes(), outcomes())

    def broken(message, *_):
        raise ZeroDivisionError

    monkeypatch.setattr("mailwarren.tracker.consume.read", broken)
    await run_once(inbox, recorder)
    assert recorder.dead == [(1, "undecodable"), (2, "undecodable")]


async def test_a_batch_whose_connection_was_lost_is_not_acked_on_the_next_one():
    inbox = FakeInbox()
    recorder = FakeRecorder(before=lambda: inbox.reconnect() if inbox.epoch == 1 else None)
    inbox.put(outcomes(), outcomes())
    await run_once(inbox, recorder)
    assert inbox.acked == []
    await run_once(inbox, recorder)
    assert recorder.batches == [[1, 2], [1, 2]]
    assert inbox.acked == [2]


async def test_messages_of_a_lost_connection_are_dropped_from_a_batch_being_collected():
    inbox, recorder = FakeInbox(), FakeRecorder()
    inbox.put(outcomes(), outcomes())
    pop, calls = inbox.pop, []

    def reconnects_after_the_first():
        calls.append(1)
        if len(calls) == 2:
            inbox.reconnect()
        return pop()

    inbox.pop = reconnects_after_the_first
    await run_once(inbox, recorder)
    assert recorder.batches == [[1, 2]]
    assert inbox.acked == [2] and inbox.unacked == []


async def test_an_abandoned_batch_is_not_acked():
    inbox, recorder = FakeInbox(), FakeRecorder()

    async def gives_up(works):
        raise Abandoned

    recorder.record = gives_up
    inbox.put(outcomes())
    await run_once(inbox, recorder)
    assert inbox.acked == []


async def test_stopping_finishes_and_acks_the_batch_at_hand():
    inbox, stop = FakeInbox(), asyncio.Event()
    recorder = FakeRecorder(before=stop.set)
    inbox.put(*(outcomes(10) for _ in range(3)))
    async with asyncio.timeout(2):
        await consumer(inbox, recorder).run(stop)
    assert recorder.batches == [[1]]
    assert inbox.acked == [1]
    assert [message.tag for message in inbox.unacked] == [2, 3]


@pytest.mark.parametrize("place", ["before", "after"])
async def test_a_crash_around_the_write_leaves_the_messages_to_the_broker(place):
    inbox, recorder = FakeInbox(), FakeRecorder()
    inbox.put(outcomes(), outcomes())
    record = recorder.record

    async def crashes(works):
        if place == "after":
            await record(works)
        raise KeyboardInterrupt

    recorder.record = crashes
    with pytest.raises(KeyboardInterrupt):
        await run_once(inbox, recorder)
    assert inbox.acked == []
    inbox.reconnect()
    recorder.record = record
    await run_once(inbox, recorder)
    assert recorder.batches[-1] == [1, 2]
    assert inbox.unacked == []
