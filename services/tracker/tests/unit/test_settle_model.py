"""Settle as a game: copies of a delivery, senders that die at any moment, and a tracker that is late.

Hypothesis plays it. Never may a sender be told to send while another, alive and connected, is sending; and when the
accidents end, the delivery ends.
"""

import uuid
from collections import deque
from dataclasses import dataclass

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mailwarren.contracts.events import Kind
from mailwarren.contracts.settle import Question, Verdict
from mailwarren.store.states import ENDS, State
from mailwarren.tracker.domain.settle import Terms, judge
from mailwarren.tracker.domain.status import UNHEARD, next_status

TERMS = Terms(hearing=10.0, lease=600.0)
LADDER = 10.0
DELIVERY = uuid.UUID(int=1)
PROCESSES = 3


@dataclass(eq=False)
class Copy:
    """A message with the delivery in a send queue or on the ladder; ``holder`` is the sender that has it unacked."""

    turn: int = 0
    count: int = 0
    asked_at: float | None = None
    ready_at: float = 0.0
    holder: "Sender | None" = None


@dataclass(eq=False)
class Sender:
    """A process: works on one copy of a delivery at a time, and asks before it does."""

    asker: uuid.UUID
    copy: Copy | None = None
    question: Question | None = None
    put_at: float = 0.0
    sending_since: float | None = None


class Settle(RuleBasedStateMachine):
    """The broker, three senders and the tracker, for one delivery's first attempt."""

    def __init__(self):
        super().__init__()
        self.now = 1_790_000_000.0
        self.copies = []
        self.partition = deque()
        self.status = UNHEARD
        self.claim = None
        self.serial = 0
        self.senders = [Sender(self.ident()) for _ in range(PROCESSES)]

    def ident(self):
        """A UUIDv7 of the model's time."""
        self.serial += 1
        return uuid.UUID(int=(int(self.now * 1000) << 80) | (7 << 76) | (1 << 63) | self.serial)

    @initialize(patience=st.sampled_from([60.0, 900.0]), copies=st.integers(1, 3))
    def accept(self, patience, copies):
        self.patience = patience
        self.copies = [Copy() for _ in range(copies)]

    # The broker

    def idle(self):
        return [one for one in self.senders if one.copy is None]

    def ready(self):
        return [one for one in self.copies if one.holder is None and one.ready_at <= self.now]

    @precondition(lambda self: self.idle() and self.ready())
    @rule(data=st.data(), slow=st.booleans())
    def deliver(self, data, slow):
        self.give(data.draw(st.sampled_from(self.ready())), data.draw(st.sampled_from(self.idle())))
        if not slow:
            self.catch_up()

    def give(self, copy, sender):
        copy.holder, sender.copy, sender.put_at = sender, copy, self.now
        sender.question = Question(self.ident(), sender.asker, "q", (DELIVERY,), 1, copy.turn, copy.count)
        self.partition.append(sender.question)

    def redeliver(self, sender):
        copy = sender.copy
        copy.count, copy.holder = copy.count + 1, None
        sender.copy = sender.question = sender.sending_since = None

    def ack(self, sender):
        self.copies.remove(sender.copy)
        sender.copy = sender.question = sender.sending_since = None

    # The senders

    def asking(self):
        return [one for one in self.senders if one.copy and one.sending_since is None]

    def sending(self):
        return [one for one in self.senders if one.sending_since is not None]

    def busy(self):
        return [one for one in self.senders if one.copy]

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), dies=st.booleans())
    def lose_the_connection(self, data, dies):
        sender = data.draw(st.sampled_from(self.busy()))
        self.die(sender) if dies else self.redeliver(sender)

    def die(self, sender):
        self.redeliver(sender)
        sender.asker = self.ident()

    def put_back(self, sender, turn, *, dies=False):
        copy = sender.copy
        self.copies.append(Copy(turn, 0, copy.asked_at or self.now, self.now + LADDER))
        if dies:
            self.die(sender)
        else:
            self.ack(sender)

    def unheard(self):
        return [one for one in self.asking() if self.now - one.put_at > TERMS.hearing]

    @precondition(lambda self: self.unheard())
    @rule(data=st.data(), dies=st.booleans())
    def time_out(self, data, dies):
        sender = data.draw(st.sampled_from(self.unheard()))
        self.put_back(sender, sender.copy.turn + 1, dies=dies)

    @precondition(lambda self: self.sending() and not self.status.started)
    @rule()
    def mark(self):
        self.partition.append(Kind.STARTED)
        self.catch_up()

    @precondition(lambda self: any(self.now - one.sending_since > 100 for one in self.sending()))
    @rule(data=st.data(), kind=st.sampled_from([Kind.DELIVERED, Kind.DEFERRED]), dies=st.booleans())
    def finish(self, data, kind, dies):
        self.report(data.draw(st.sampled_from(self.sending())), kind, dies=dies)

    def report(self, sender, kind, *, dies=False):
        self.partition.append(kind)
        if dies:
            self.die(sender)
        else:
            self.ack(sender)

    # The tracker

    def catch_up(self):
        while self.partition:
            self.read()

    @precondition(lambda self: self.partition)
    @rule(dies=st.booleans())
    def read_one(self, dies):
        self.read(dies=dies)

    def read(self, *, dies=False):
        message = self.partition.popleft()
        if isinstance(message, Kind):
            self.status = next_status(self.status, message, 1, self.now)
            return
        verdict = self.judge(message)
        if dies:
            # Committed, but neither answered nor acked: it is read again before anything else.
            self.partition.appendleft(message)
        else:
            self.answer(message, verdict)

    def judge(self, question):
        verdict, claim = judge(question, self.status, self.claim, canceled=False, now=self.now, terms=TERMS)
        self.claim = claim or self.claim
        return verdict

    def answer(self, question, verdict):
        for sender in self.asking():
            if sender.question is question and self.now - sender.put_at <= TERMS.hearing:
                self.obey(sender, verdict)

    def obey(self, sender, verdict):
        if verdict in (Verdict.UNTOUCHED, Verdict.STARTED):
            assert not self.sending(), f"{verdict} while another is sending"
        match verdict:
            case Verdict.UNTOUCHED:
                sender.sending_since = self.now
            case Verdict.STARTED:
                self.report(sender, Kind.FAILED)
            case Verdict.DONE:
                self.ack(sender)
            case Verdict.CLAIMED:
                asked_at = sender.copy.asked_at or self.now
                impatient = self.now - asked_at >= self.patience
                self.put_back(sender, sender.copy.turn + impatient)

    # Time

    @rule(seconds=st.sampled_from([11.0, 1.0, 61.0, 300.0, 599.0]))
    def wait(self, seconds):
        self.pass_time(seconds)

    def pass_time(self, seconds):
        for sender in self.sending():
            # Who is alive has had its reply when its claim runs out.
            seconds = min(seconds, sender.sending_since + TERMS.lease - 1 - self.now)
        self.now += max(seconds, 0.0)

    @invariant()
    def at_most_one_sends(self):
        assert len(self.sending()) <= 1

    def teardown(self):
        """No more accidents: everything comes to its end, in less than patience and lease."""
        until = self.now + TERMS.lease + getattr(self, "patience", 0.0) + 60
        while self.copies or self.partition:
            assert self.now < until, "waits for ever"
            for sender in self.sending():
                self.report(sender, Kind.DELIVERED)
            self.catch_up()
            for sender in self.unheard():
                self.put_back(sender, sender.copy.turn + 1)
            for copy, sender in zip(self.ready(), self.idle(), strict=False):
                self.give(copy, sender)
            self.now += 1.0
        if hasattr(self, "patience"):
            assert self.status.state in ENDS or self.status.state is State.DEFERRED


Settle.TestCase.settings = settings(max_examples=400, stateful_step_count=30, deadline=None)
test_settle = Settle.TestCase
