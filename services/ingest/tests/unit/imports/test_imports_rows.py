"""Records into contacts, or why not; and each address once, wherever a batch ends."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.ids import new_id
from mailwarren.ingest.domain.contacts import ContactRow
from mailwarren.ingest.domain.imports.columns import Columns
from mailwarren.ingest.domain.imports.formulas import OURS
from mailwarren.ingest.domain.imports.head import MAX_COLUMNS
from mailwarren.ingest.domain.imports.records import Record
from mailwarren.ingest.domain.imports.rows import MAX_CELL, MAX_KEPT, Reading, fold
from mailwarren.ingest.domain.properties import Property
from mailwarren.store.states import PropertyType

MADE: Any = None
SEATS = Property(id=new_id(), key="seats", type=PropertyType.NUMBER, fallback=None, created_at=MADE)
VIP = Property(id=new_id(), key="vip", type=PropertyType.BOOLEAN, fallback=None, created_at=MADE)
PLAN = Property(id=new_id(), key="plan", type=PropertyType.STRING, fallback=None, created_at=MADE)
NAMES = ["email", "first", "last", "out", "seats", "vip", "plan"]
COLUMNS = Columns(
    email=0, first_name=1, last_name=2, unsubscribed=3, properties={"seats": 4, "vip": 5, "plan": 6}
)  # fmt: skip
READING = Reading(NAMES, COLUMNS, [SEATS, VIP, PLAN])


def row(*cells: str) -> Record:
    return Record(2, [*cells, *[""] * (len(NAMES) - len(cells))])


def failure(record: Record) -> str:
    batch = READING.read([record], 0)
    assert batch.rows == []
    return batch.failures[0].error


def test_a_row_becomes_a_contact() -> None:
    [found] = READING.read([row(" Ada@Example.org ", " Ada ", "Lovelace", "Yes", "7", "no", "=1+1")], 0).rows
    assert found == ContactRow(
        email="Ada@Example.org", email_key="ada@example.org", first_name="Ada", last_name="Lovelace", unsubscribed=True,
        properties={SEATS.place: 7, VIP.place: False, PLAN.place: "=1+1"},
    )  # fmt: skip


def test_empty_cells_say_nothing() -> None:
    [found] = READING.read([row("a@x.org")], 0).rows
    assert found == ContactRow(email="a@x.org", email_key="a@x.org")


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("-1.5", -1.5), ("+3", 3), ("1e3", 1000.0), ("007", 7)])
def test_numbers_are_numbers(text: str, number: float) -> None:
    [found] = READING.read([row("a@x.org", "", "", "", text)], 0).rows
    assert found.properties == {SEATS.place: number}


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (row(""), "`email` is empty"),
        (row("ada"), "`email` is no address: "),
        (row("Ada <ada@x.org>"), "`email` is no address: "),
        (row("a@x.org;b@x.org"), "`email` is no address: it holds several addresses"),
        (row("a@x.org", "x" * 257), "`first_name` field: it has 257 characters"),
        (row("a@x.org", "", "a\nb"), "`last_name` field: a line break"),
        (row("a@x.org", "", "", "perhaps"), "`unsubscribed` field: `perhaps` is neither true nor false"),
        (row("a@x.org", "", "", "", "1,5"), "`properties.seats` field: `1,5` is no number"),
        (row("a@x.org", "", "", "", "nan"), "is no number"),
        (row("a@x.org", "", "", "", "1_000"), "is no number"),
        (row("a@x.org", "", "", "", "9" * 30), "numbers go up to 2^53"),
        (row("a@x.org", "", "", "", "", "2"), "`properties.vip` field"),
        (row("a@x.org", "", "", "", "", "", "x" * 501), "`properties.plan` field"),
        (Record(2, ["a@x.org"]), "The row has 1 cells, the first line names 7 columns."),
        (Record(2, [*["a@x.org"] * 7, "x"]), "The row has 8 cells, the first line names 7 columns."),
        (Record(2, [], "The row was not read: x."), "The row was not read: x."),
    ],
)
def test_a_row_that_makes_no_contact_says_why(record: Record, said: str) -> None:
    assert said in failure(record)


def test_empty_cells_too_many_are_forgiven() -> None:
    assert READING.read([Record(2, [*row("a@x.org").cells, "", ""])], 0).failures == []


def test_failures_are_numbered_among_all_rows_and_their_cells_are_bounded() -> None:
    batch = READING.read([row("a@x.org"), Record(9, ["x" * 5000]), row("b@x.org")], 1000)
    assert [contact.email for contact in batch.rows] == ["a@x.org", "b@x.org"]
    [found] = batch.failures
    assert (found.number, found.line, found.cells) == (1002, 9, ["x" * MAX_CELL])


def test_a_row_of_many_long_cells_does_not_make_its_report_long() -> None:
    [found] = READING.read([Record(2, ["x" * MAX_CELL] * (MAX_COLUMNS + 400))], 0).failures
    assert len(found.cells) == MAX_COLUMNS
    assert sum(map(len, found.cells)) == MAX_KEPT


def test_a_report_of_ours_is_read_as_it_was_before() -> None:
    reading = Reading([*OURS, "email", "plan"], Columns(email=3, properties={"plan": 4}), [PLAN])
    [found] = reading.read([Record(2, ["1", "2", "why", "a@x.org", "'+49 30 1"])], 0).rows
    assert found.properties == {PLAN.place: "+49 30 1"}
    [kept] = Reading(["email", "plan"], Columns(email=0, properties={"plan": 1}), [PLAN]).read(
        [Record(2, ["a@x.org", "'+49 30 1"])], 0
    ).rows  # fmt: skip
    assert kept.properties == {PLAN.place: "'+49 30 1"}


def contact(address: str, first: str | None = None, last: str | None = None, out: bool | None = None) -> ContactRow:
    return ContactRow(
        email=address, email_key=address.lower(), first_name=first, last_name=last, unsubscribed=out,
        properties={} if first is None else {"p": first},
    )  # fmt: skip


def test_rows_of_one_address_are_one_contact() -> None:
    rows = [
        contact("A@x.org", "A", None, True),
        contact("b@x.org"),
        contact("a@X.org", None, "L"),
        contact("a@x.org", "B"),
    ]
    merged, other = fold(rows, keep_first=False)
    assert merged == ContactRow(
        email="A@x.org", email_key="a@x.org", first_name="B", last_name="L", unsubscribed=True, properties={"p": "B"}
    )
    assert other == rows[1]
    assert fold(rows, keep_first=True) == rows[:2]


ROWS = st.lists(
    st.builds(
        contact,
        st.sampled_from(["a@x.org", "A@x.org", "b@x.org"]),
        st.sampled_from([None, "1", "2"]),
        st.sampled_from([None, "l"]),
        st.sampled_from([None, True, False]),
    ),
    max_size=8,
)


@given(ROWS, st.integers(0, 8), st.booleans())
def test_it_does_not_matter_where_a_batch_ends(rows: list[ContactRow], cut: int, keep_first: bool) -> None:
    at_once = fold(rows, keep_first=keep_first)
    first = fold(rows[:cut], keep_first=keep_first)
    assert fold([*first, *fold(rows[cut:], keep_first=keep_first)], keep_first=keep_first) == at_once
