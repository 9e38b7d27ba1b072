"""Batches against a database that is away or refuses, and a broker that is away."""

import asyncio
import uuid

import pytest

from mailwarren.contracts import codec
from mailwarren.contracts.events import Outcomes
from mailwarren.contracts.parcel import Wait
from mailwarren.contracts.settle import Answer, Question, Verdict
from mailwarren.contracts.testing import a_delivery, a_parcel, an_attempt, an_event
from mailwarren.runtime.amqp import NotConnected
from mailwarren.tracker.domain.read import Message, Source, Work, read
from mailwarren.tracker.ports import Recorded, Refused, Unavailable
from mailwarren.tracker.record import Abandoned, Recorder


class FakeLedger:
    """Keeps messages in order; refuses the bad ones, and is away for the first ``away`` batches."""

    def __init__(self, bad=(), away=0, bad_deliveries=()):
        self.bad = set(bad)
        self.bad_deliveries = set(bad_deliveries)
        self.reported = []
        self.accepted = []
        self.away = away
        self.kept = []
        self.calls = 0

    async def record(self, works):
        self.calls += 1
        if self.away:
            self.away -= 1
            raise Unavailable("away")
        if any(work.message.tag in self.bad for work in works):
            raise Refused("NUL")
        reported = [report.event.delivery for work in works for report in work.reports]
        accepted = [delivery.id for work in works if work.acceptance for delivery in work.acceptance.deliveries]
        if self.bad_deliveries.intersection(reported + accepted):
            raise Refused("NUL")
        self.reported += reported
        self.accepted += accepted
        self.kept += [work.message.tag for work in works]
        answers = [(w.question, Answer(w.question.id, (Verdict.UNTOUCHED,))) for w in works if w.question]
        return Recorded(answers=answers)


class FakeOutbox:
    def __init__(self, ledger, away=0):
        self.ledger = ledger
        self.away = away
        self.dead = []
        self.messages = []
        self.answered = []

    async def answer(self, question, answer):
        self.answered.append((question.id, list(self.ledger.kept)))

    async def set_aside(self, message, reason):
        if self.away:
            self.away -= 1
            raise NotConnected("away")
        self.dead.append((message.tag, reason))
        self.messages.append(message)


def works(count, source=Source.EVENTS):
    return [Work(Message(source, "q", b"", {}, tag=tag)) for tag in range(1, count + 1)]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("mailwarren.tracker.record.FIRST_PAUSE", 0.001)
    monkeypatch.setattr("mailwarren.tracker.record.LAST_PAUSE", 0.002)


def never(message):
    return False


async def test_a_batch_is_repeated_until_the_database_takes_it():
    ledger = FakeLedger(away=4)
    recorder = Recorder(ledger, FakeOutbox(ledger), never)
    await recorder.record(works(3))
    assert ledger.kept == [1, 2, 3]
    assert ledger.calls == 5
    assert recorder.trouble is None


async def test_while_the_database_is_away_the_recorder_is_not_available():
    ledger = FakeLedger(away=10_000)
    recorder = Recorder(ledger, FakeOutbox(ledger), never)
    task = asyncio.create_task(recorder.record(works(1)))
    while ledger.calls < 3:
        await asyncio.sleep(0.001)
    assert recorder.trouble is not None
    task.cancel()


async def test_a_batch_is_given_up_when_it_cannot_be_acked_any_more():
    ledger = FakeLedger(away=10_000)
    with pytest.raises(Abandoned):
        await Recorder(ledger, FakeOutbox(ledger), lambda _: ledger.calls >= 3).record(works(1))
    assert ledger.kept == []


@pytest.mark.parametrize("bad", [{1}, {8}, {3, 4}, {2, 7}, set(range(1, 9)), {5}])
async def test_the_messages_that_the_database_refuses_are_set_aside_and_the_rest_is_kept_in_order(bad):
    ledger = FakeLedger(bad)
    outbox = FakeOutbox(ledger)
    await Recorder(ledger, outbox, never).record(works(8))
    assert ledger.kept == [tag for tag in range(1, 9) if tag not in bad]
    assert outbox.dead == [(tag, "refused: NUL") for tag in sorted(bad)]


async def test_a_database_that_goes_away_in_the_middle_of_a_bisection_changes_nothing():
    ledger = FakeLedger({3})
    outbox = FakeOutbox(ledger)
    record, turns = ledger.record, iter([0, 1, 0, 1, 1])

    async def flaky(batch):
        ledger.away = next(turns, 0)
        return await record(batch)

    ledger.record = flaky
    await Recorder(ledger, outbox, never).record(works(5))
    assert ledger.kept == [1, 2, 4, 5]
    assert [tag for tag, _ in outbox.dead] == [3]


async def test_a_refused_dead_letter_is_not_put_back_among_the_dead_letters():
    ledger = FakeLedger({1})
    outbox = FakeOutbox(ledger)
    await Recorder(ledger, outbox, never).record(works(1, Source.DEAD))
    assert outbox.dead == []


async def test_setting_aside_waits_for_the_broker():
    ledger = FakeLedger({1})
    outbox = FakeOutbox(ledger, away=3)
    await Recorder(ledger, outbox, never).record(works(2))
    assert [tag for tag, _ in outbox.dead] == [1]


async def test_a_message_that_cannot_be_set_aside_is_not_acked():
    ledger = FakeLedger({1})
    outbox = FakeOutbox(ledger, away=10_000)
    with pytest.raises(Abandoned):
        await Recorder(ledger, outbox, lambda _: outbox.away < 9_998).record(works(1))


async def test_an_answer_leaves_after_the_commit_of_everything_before_it():
    ledger = FakeLedger({2})
    outbox = FakeOutbox(ledger)
    batch = works(6)
    batch[4].question = Question(uuid.uuid4(), uuid.uuid4(), "answers", (uuid.uuid4(),), 2)
    await Recorder(ledger, outbox, never).record(batch)
    [(ident, kept)] = outbox.answered
    assert ident == batch[4].question.id
    assert set(kept) >= {1, 3, 4, 5}


def message(body, headers, source=Source.EVENTS):
    return read(Message(source, "q", body, headers, exchange="mail.events", key="3", tag=1), 1.0)


def parcel_message(parcel, source):
    return message(codec.encode_parcel(parcel), codec.parcel_headers(parcel), source)


async def record(work, bad):
    ledger = FakeLedger(bad_deliveries=bad)
    outbox = FakeOutbox(ledger)
    await Recorder(ledger, outbox, never).record([work])
    return ledger, outbox


@pytest.mark.parametrize("bad", [{0}, {7}, {9}, {0, 9}, {2, 5, 8}])
async def test_of_refused_outcomes_only_the_refused_events_are_set_aside_each_for_itself(bad):
    parcel = a_parcel(to=[f"u{n}@x.test" for n in range(10)])
    events = [an_event(parcel, index=n) for n in range(10)]
    value = Outcomes(tuple(events))
    ledger, outbox = await record(
        message(codec.encode(value), codec.headers_of(value)), {events[n].delivery for n in bad}
    )
    assert ledger.reported == [event.delivery for n, event in enumerate(events) if n not in bad]
    assert outbox.dead == [(1, "refused: NUL")] * len(bad)
    left = [codec.decode_tracker(one.body, one.headers) for one in outbox.messages]
    assert left == [Outcomes((events[n],)) for n in sorted(bad)]
    assert {(one.exchange, one.key) for one in outbox.messages} == {("mail.events", "3")}
    # A replay is a message like any other.
    replayed, _ = await record(message(outbox.messages[0].body, outbox.messages[0].headers), ())
    assert replayed.reported == [events[min(bad)].delivery]


async def test_of_a_refused_acceptance_only_the_refused_delivery_is_set_aside():
    deliveries = tuple(a_delivery(f"u{n}@x.test", suppressed=n == 4) for n in range(6))
    parcel = a_parcel(deliveries=deliveries)
    ledger, outbox = await record(parcel_message(parcel, Source.ACCEPTED), {deliveries[3].id})
    assert ledger.accepted == [one.id for n, one in enumerate(deliveries) if n != 3]
    assert ledger.reported == [deliveries[4].id]
    [left] = [codec.decode_parcel(one.body, one.headers) for one in outbox.messages]
    assert left.deliveries == (deliveries[3],)
    assert (left.id, left.content, left.partition) == (parcel.id, parcel.content, parcel.partition)


@pytest.mark.parametrize(("source", "wait"), [(Source.EVENTS, Wait.DEFERRED), (Source.DEAD, None)])
async def test_a_refused_deferral_or_dead_letter_costs_its_neighbours_nothing(source, wait):
    deliveries = tuple(a_delivery(f"u{n}@x.test", last=an_attempt(1)) for n in range(5))
    work = parcel_message(a_parcel(deliveries=deliveries, attempt=2, wait=wait), source)
    ledger, outbox = await record(work, {deliveries[0].id})
    assert ledger.reported == [one.id for one in deliveries[1:]]
    assert len(outbox.messages) == (source is not Source.DEAD)


async def test_what_is_refused_wholly_stays_one_message():
    parcel = a_parcel(to=[f"u{n}@x.test" for n in range(7)])
    ids = [delivery.id for delivery in parcel.deliveries]
    work = parcel_message(parcel, Source.ACCEPTED)
    ledger, outbox = await record(work, ids)
    assert outbox.messages == [work.message]
    ledger, outbox = await record(work, ids[1:])
    assert ledger.accepted == ids[:1]
    assert [len(codec.decode_parcel(one.body, one.headers).deliveries) for one in outbox.messages] == [2, 4]
