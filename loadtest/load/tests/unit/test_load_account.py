"""The account by API and sink names every disagreement; the ledger file says what was written."""

from uuid import uuid4

from mailwarren.load.account import Known, settle, wait_settled
from mailwarren.load.ledger import Silence, Writer, Yes, accepted_row, read, unanswered_row

YES = [Yes(uuid4(), f"a{n}@one.test", "high") for n in range(3)]


def known(*events: str, copies: int | None = None) -> dict:
    return {one.id: Known(event, copies) for one, event in zip(YES, events, strict=True)}


def test_all_accepted_and_ended_balances() -> None:
    account = settle(YES, [], known("delivered", "delivered", "bounced"))
    assert account.balances
    assert account.lines()[-1] == "LEDGER BALANCES"
    assert account.events == {"delivered": 2, "bounced": 1}


def test_every_fault_is_named() -> None:
    listed = known("queued", "delivered", "delivered", copies=0)
    listed.pop(YES[2].id)
    listed[uuid4()] = Known("delivered", 1)
    account = settle([*YES, YES[1]], [Silence("x@y.test", "bulk", "503")], listed)
    assert {fault: len(found) for fault, found in account.faults.items()} == {
        "posted, without an answer from the API": 1,
        "without an end": 1,
        "accepted with an id that another has too": 1,
        "delivered, and not at the sink": 1,
        "accepted, and not in the API's list": 1,
        "in the API's list, and not in its answers": 1,
    }
    assert account.lines()[-1].startswith("LEDGER DOES NOT BALANCE: ")


def test_the_sink_may_disagree_both_ways_and_duplicates_are_no_fault() -> None:
    bounced = settle(YES[:1], [], {YES[0].id: Known("bounced", 1)})
    assert list(bounced.faults) == ["at the sink, and not delivered"]
    twice = settle(YES[:1], [], {YES[0].id: Known("delivered", 2)})
    assert (twice.balances, twice.duplicates) == (True, 1)


def test_it_is_waited_as_long_as_ends_still_come() -> None:
    looks = iter([known("queued", "queued", "queued"), known("delivered", "queued", "queued")])
    last = known("delivered", "delivered", "delivered")
    said: list[str] = []
    account = wait_settled(lambda: settle(YES, [], next(looks, last)), 60, said.append)
    assert account.balances
    assert len(said) == 2


def test_the_patience_ends_when_none_come() -> None:
    moments = iter(range(0, 1000, 10))
    account = wait_settled(
        lambda: settle(YES, [], known("queued", "queued", "queued")), 25, lambda _: None, now=lambda: next(moments)
    )
    assert not account.balances


def test_what_is_written_is_read(tmp_path) -> None:
    writer = Writer(tmp_path)
    writer.write([accepted_row(*one) for one in YES])
    writer.write([unanswered_row("x@y.test", "bulk", "503")])
    assert (writer.accepted, writer.unanswered) == (3, 1)
    assert read(tmp_path) == (YES, [Silence("x@y.test", "bulk", "503")]), "before it is closed: runs are interrupted"
    writer.close()
    assert read(tmp_path / "nowhere") == ([], [])
