"""Suppressions as CSV: however the file is cut into pieces, and whatever is wrong in it."""

import csv
import io
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.unsubscribe import LISTS
from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.ingest.domain.suppression_csv import COLUMNS, MAX_RECORD, BadRow, Reader, write, write_head
from mailwarren.ingest.domain.suppressions import Entry, NewEntry, Scope, check_end, topic_of
from mailwarren.store.states import Origin

END = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
FILE = (
    "\ufeffEmail,note,expires_at\r\n"
    'Ada@Example.TEST,"a, ""quoted""\r\nnote",2030-01-02T04:04:05+01:00\r\n'
    "\r\n"
    " bob@bücher.example ,,\r\n"
    "nobody,x,\r\n"
    "eve@x.test,x,soon\r\n"
    "last@x.test,x,"
).encode()
ENTRIES = [
    NewEntry("ada@example.test", END),
    NewEntry("bob@xn--bcher-kva.example"),
    NewEntry("last@x.test"),
]


def read(*pieces: bytes) -> tuple[Reader, list[NewEntry], list[BadRow]]:
    reader = Reader()
    entries: list[NewEntry] = []
    bad: list[BadRow] = []
    for number, piece in enumerate(pieces):
        found, wrong = reader.feed(piece, last=number == len(pieces) - 1)
        entries += found
        bad += wrong
    return reader, entries, bad


@given(st.lists(st.integers(0, len(FILE)), max_size=12).map(sorted))
def test_a_file_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    edges = [0, *cuts, len(FILE)]
    reader, entries, bad = read(*(FILE[a:b] for a, b in pairwise(edges)))
    assert entries == ENTRIES
    assert [row.line for row in bad] == [6, 7]
    assert "expires_at" in bad[1].message
    assert reader.ignored == ["note"]


def test_addresses_alone_need_no_head() -> None:
    _, entries, bad = read(b"ada@x.test\nbob@x.test\n")
    assert ([entry.address for entry in entries], bad) == (["ada@x.test", "bob@x.test"], [])
    assert read(b"")[1:] == ([], [])


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (b"name,age\nx,1\n", "one of them is `email`"),
        (b"email\n\xff\xfe@x.test\n", "not UTF-8"),
        (b'email\n"ada"x@x.test\n', "not CSV"),
        (b'email\n"' + b"a" * (MAX_RECORD + 10), "longer than"),
    ],
)
def test_what_is_no_such_file_is_refused(file: bytes, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        read(file, b"", b"")


def test_what_is_written_can_be_read() -> None:
    entries = [
        Entry(UUID(int=1), "a@x.test", None, Origin.BOUNCE, "invalid_recipient", UUID(int=9), END, None),
        Entry(UUID(int=2), "b@x.test", LISTS, Origin.MANUAL, "unsubscribe", None, END),
        Entry(UUID(int=3), "c@x.test", UUID(int=7), Origin.MANUAL, "import", None, END),
        Entry(UUID(int=4), "d@x.test", None, Origin.MANUAL, "manual", None, END, END),
        # What a spreadsheet would take for a formula.
        Entry(UUID(int=5), "=1+1@x.test", None, Origin.BOUNCE, "invalid_recipient", None, END),
    ]
    text = (write_head() + write(entries)).decode()
    head, *records = csv.reader(io.StringIO(text, newline=""))
    assert tuple(head) == COLUMNS
    assert [record[1] for record in records] == ["all", "lists", "topic", "all", "all"]
    assert (records[2][2], records[4][0]) == (str(UUID(int=7)), "'=1+1@x.test")
    reader, again, bad = read(text.encode())
    assert [entry.address for entry in again] == [entry.address for entry in entries]
    assert (bad, reader.ignored) == ([], [])
    assert again[3].expires_at == END


def test_a_scope_and_a_topic_go_together() -> None:
    topic = UUID(int=5)
    assert topic_of(None, None) is topic_of(Scope.ALL, None) is None
    assert topic_of(Scope.LISTS, None) == LISTS
    assert topic_of(None, topic) == topic_of(Scope.TOPIC, topic) == topic
    with pytest.raises(Refusal, match="topic_id"):
        topic_of(Scope.TOPIC, None)
    with pytest.raises(Refusal, match="scope"):
        topic_of(Scope.LISTS, topic)


def test_an_end_is_to_come_and_of_all_mail() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    assert check_end(END, None, now) == END
    assert check_end(None, LISTS, now) is None
    with pytest.raises(Refusal, match="in the past"):
        check_end(now, None, now)
    with pytest.raises(Refusal, match="come back"):
        check_end(END, LISTS, now)
