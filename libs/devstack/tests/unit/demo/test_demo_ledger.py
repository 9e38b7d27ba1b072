"""The ledger's verdict on planted losses, doubles, strays and mix-ups."""

from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest

from mailwarren.contracts.ids import delivery_id
from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.demo.balancing import balance
from mailwarren.devstack.demo.ledger import (
    Accepted,
    Copies,
    Depths,
    Entry,
    Fault,
    Finding,
    Ledger,
)
from mailwarren.devstack.demo.report import finding_lines, ledger_lines
from mailwarren.store.states import State


@dataclass
class World:
    """A run that balances: four mails in each lane, of which one bounced; tests then spoil it."""

    accepted: list[Accepted] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    pairs: list[Copies] = field(default_factory=list)
    depths: Depths = field(default_factory=lambda: Depths(dict.fromkeys(Lane, 0)))

    def add(self, lane: Lane, state: str) -> int:
        row = len(self.accepted) + 2
        ident, address = uuid4(), f"user{row}@northwind.test"
        self.accepted.append(Accepted(ident, row, lane, address))
        self.entries.append(
            Entry(delivery_id(ident, address), ident, address, lane.value, state, f"{ident}@demo.test", 1, "250 ok")
        )
        if state == State.DELIVERED:
            self.pairs.append(Copies(f"{ident}@demo.test", address, 1, 0))
        return len(self.accepted) - 1

    def balance(self) -> Ledger:
        return balance(self.accepted, self.entries, self.pairs, self.depths)


@pytest.fixture
def world() -> World:
    made = World()
    for lane in Lane:
        for state in (State.DELIVERED, State.BOUNCED, State.DELIVERED, State.DELIVERED):
            made.add(lane, state)
    return made


def only_fault(ledger: Ledger, fault: Fault) -> Finding:
    assert list(ledger.faults) == [fault]
    (finding,) = ledger.faults[fault]
    assert not ledger.balances
    assert ledger.verdict == f"LEDGER DOES NOT BALANCE: 1 {fault}"
    return finding


def test_a_run_in_which_everything_has_its_end_balances(world: World) -> None:
    for state in (State.FAILED, State.EXPIRED, State.SUPPRESSED, State.CANCELED):
        world.add(Lane.BULK, state)

    ledger = world.balance()

    assert ledger.balances
    assert ledger.verdict == "LEDGER BALANCES"
    assert [ledger.lanes[lane].accepted for lane in Lane] == [4, 4, 8]
    assert ledger.total.accepted == 16
    assert ledger.total.states == {
        State.DELIVERED: 9, State.BOUNCED: 3, State.FAILED: 1, State.EXPIRED: 1, State.SUPPRESSED: 1, State.CANCELED: 1,
    }  # fmt: skip
    assert (ledger.total.at_sink, ledger.total.lost, ledger.total.duplicates) == (9, 0, 0)


def test_an_accepted_mail_without_a_row_is_lost(world: World) -> None:
    gone = world.entries.pop(0)
    world.pairs = [pair for pair in world.pairs if pair.address != gone.address]

    ledger = world.balance()

    finding = only_fault(ledger, Fault.NO_ROW)
    assert finding.lane is Lane.HIGH
    assert str(gone.email_id) in finding.subject
    assert (ledger.lanes[Lane.HIGH].lost, ledger.total.lost) == (1, 1)


def test_a_row_that_vanished_after_its_mail_arrived_is_lost_and_a_stray(world: World) -> None:
    world.entries.pop(0)

    ledger = world.balance()

    assert set(ledger.faults) == {Fault.NO_ROW, Fault.STRAY}


@pytest.mark.parametrize(
    "state", [State.ACCEPTED, State.DEFERRED, State.PARKED, State.UNCONFIRMED, State.HELD, "a new state"]
)
def test_a_mail_without_an_end_is_named_with_its_state_and_last_reply(world: World, state: str) -> None:
    world.entries[1] = world.entries[1]._replace(state=state, attempt=3, last="451 4.3.2 later")

    ledger = world.balance()

    finding = only_fault(ledger, Fault.NO_END)
    assert finding.detail == f"state {state} after attempt 3: 451 4.3.2 later"
    assert ledger.lanes[Lane.HIGH].lost == 1


def test_a_delivered_mail_that_the_sink_never_saw_is_lost(world: World) -> None:
    missing = world.pairs.pop()

    ledger = world.balance()

    assert missing.message_id in only_fault(ledger, Fault.NOT_AT_SINK).subject
    assert ledger.lanes[Lane.BULK].lost == 1


def test_a_delivered_mail_whose_only_copy_was_never_answered_is_not_at_the_sink(world: World) -> None:
    world.pairs[0] = world.pairs[0]._replace(answered=0, unanswered=1)

    ledger = world.balance()

    assert only_fault(ledger, Fault.NOT_AT_SINK).detail == "1 copies without an answer"
    assert len(ledger.unanswered) == 1


@pytest.mark.parametrize("state", [State.BOUNCED, State.FAILED, State.EXPIRED, State.SUPPRESSED, State.CANCELED])
def test_a_mail_that_arrived_although_it_ended_otherwise_is_a_fault(world: World, state: State) -> None:
    world.entries[0] = world.entries[0]._replace(state=state)

    assert only_fault(world.balance(), Fault.AT_SINK).detail == f"state {state}, 1 copies answered with 250"


def test_an_end_without_delivery_is_explained_by_an_answer_that_the_sink_dropped(world: World) -> None:
    bounced = world.entries[1]
    world.pairs.append(Copies(bounced.message_id, bounced.address, 0, 2))

    ledger = world.balance()

    assert ledger.balances
    (finding,) = ledger.unanswered
    assert bounced.address in finding.subject
    assert finding.detail == "2 without an answer, 0 answered with 250"
    assert ledger.lanes[Lane.HIGH].at_sink == 3


def test_a_suppressed_mail_may_not_even_be_tried(world: World) -> None:
    world.entries[1] = world.entries[1]._replace(state=State.SUPPRESSED)
    world.pairs.append(Copies(world.entries[1].message_id, world.entries[1].address, 0, 1))

    only_fault(world.balance(), Fault.AT_SINK)


def test_duplicates_are_counted_and_listed_and_no_fault(world: World) -> None:
    world.pairs[4] = world.pairs[4]._replace(answered=3)

    ledger = world.balance()

    assert ledger.balances
    assert (ledger.lanes[Lane.NORMAL].duplicates, ledger.total.duplicates) == (2, 2)
    (finding,) = ledger.duplicates
    assert (finding.lane, finding.detail) == (Lane.NORMAL, "3 copies answered with 250")
    assert ledger.total.at_sink == 9


def test_a_mail_at_the_sink_that_belongs_to_no_row_is_a_stray(world: World) -> None:
    world.pairs.append(Copies(f"{uuid4()}@demo.test", "nobody@northwind.test", 1, 0))

    ledger = world.balance()

    assert only_fault(ledger, Fault.STRAY).lane is None
    assert (ledger.total.at_sink, sum(ledger.lanes[lane].at_sink for lane in Lane)) == (10, 9)


def test_a_known_mail_at_the_sink_for_another_address_is_a_stray(world: World) -> None:
    world.pairs.append(world.pairs[0]._replace(address="eve@northwind.test"))

    assert only_fault(world.balance(), Fault.STRAY).lane is Lane.HIGH


def test_a_row_that_the_api_never_answered_is_named(world: World) -> None:
    strange = world.entries[0]._replace(id=uuid4(), email_id=uuid4(), message_id="x@demo.test")
    world.entries.append(strange)
    world.pairs.append(Copies("x@demo.test", strange.address, 1, 0))

    assert "x@demo.test" in only_fault(world.balance(), Fault.UNKNOWN_ROW).subject


def test_a_mail_recorded_in_another_lane_is_a_mix_up(world: World) -> None:
    world.entries[0] = world.entries[0]._replace(lane="bulk")

    ledger = world.balance()

    assert only_fault(ledger, Fault.OTHER_LANE).detail == "recorded as bulk"
    assert [ledger.lanes[lane].states[State.DELIVERED] for lane in Lane] == [2, 3, 4]
    assert [ledger.lanes[lane].accepted for lane in Lane] == [4, 4, 4]


def test_two_mails_that_swapped_their_addresses_are_found(world: World) -> None:
    one, two = world.entries[0], world.entries[2]
    world.entries[0], world.entries[2] = one._replace(address=two.address), two._replace(address=one.address)
    world.pairs[0] = world.pairs[0]._replace(address=two.address)
    world.pairs[1] = world.pairs[1]._replace(address=one.address)

    ledger = world.balance()

    assert {fault: len(found) for fault, found in ledger.faults.items()} == {Fault.OTHER_ADDRESS: 2}


def test_two_rows_for_one_mail_are_a_fault(world: World) -> None:
    world.entries.append(world.entries[1]._replace(id=uuid4()))

    assert Fault.SEVERAL_ROWS in world.balance().faults


def test_two_answers_with_one_id_are_a_fault(world: World) -> None:
    world.accepted.append(world.accepted[0]._replace(row=99))

    ledger = world.balance()

    assert only_fault(ledger, Fault.SAME_ID).detail == "2 rows of the CSV"
    assert ledger.lanes[Lane.HIGH].accepted == 5


def test_an_outcome_whose_acceptance_was_never_recorded_is_lost(world: World) -> None:
    world.entries[1] = world.entries[1]._replace(message_id="")

    ledger = world.balance()

    assert only_fault(ledger, Fault.NO_ACCEPTANCE).detail == "state bounced"
    assert ledger.lanes[Lane.HIGH].lost == 1


def test_messages_left_in_the_broker_do_not_balance(world: World) -> None:
    world.depths = Depths({Lane.HIGH: 0, Lane.NORMAL: 7, Lane.BULK: 0}, shared=3, parked=2)

    ledger = world.balance()

    assert ledger.verdict == "LEDGER DOES NOT BALANCE: 12 messages still in the broker"
    assert (ledger.lanes[Lane.NORMAL].in_broker, ledger.total.in_broker) == (7, 12)
    assert [finding.detail for finding in ledger.faults[Fault.IN_BROKER]] == ["7 messages", "3 messages", "2 messages"]


def test_a_row_without_an_answer_does_not_balance(world: World) -> None:
    call = Finding(Lane.BULK, "row 12", "the API answered 503: full")

    ledger = balance(world.accepted, world.entries, world.pairs, world.depths, [call])

    assert only_fault(ledger, Fault.NO_ANSWER) == call


def test_a_pair_whose_message_id_is_no_id_is_a_stray(world: World) -> None:
    world.pairs.append(Copies("hand-made@demo.test", "ada@northwind.test", 1, 0))

    only_fault(world.balance(), Fault.STRAY)


def test_the_last_lines_are_the_lanes_and_the_verdict(world: World) -> None:
    world.pairs[4] = world.pairs[4]._replace(answered=2)

    lines = ledger_lines(world.balance())

    assert lines[1].split() == [
        "lane", "accepted", "delivered", "bounced", "failed", "expired", "suppressed", "canceled", "broker", "sink",
        "cates", "lost",
    ]  # fmt: skip
    assert lines[2].split() == ["high", "4", "3", "1", "0", "0", "0", "0", "0", "3", "0", "0"]
    assert lines[3].split() == ["normal", "4", "3", "1", "0", "0", "0", "0", "0", "3", "1", "0"]
    assert lines[5].split() == ["all", "12", "9", "3", "0", "0", "0", "0", "0", "9", "1", "0"]
    assert lines[6:] == ["LEDGER BALANCES"]


def test_ten_offenders_of_a_kind_are_listed(world: World) -> None:
    world.pairs += [Copies(f"{UUID(int=n)}@demo.test", f"nobody{n}@northwind.test", 1, 0) for n in range(13)]

    lines = finding_lines(world.balance())

    assert lines[0] == "NOT RIGHT: 13 at the sink, and belonging to no row"
    assert len([line for line in lines if "nobody" in line]) == 10
    assert lines[-1] == "  … and 3 more"
