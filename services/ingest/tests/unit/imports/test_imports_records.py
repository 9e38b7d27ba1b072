"""Records with where they end, the beginning of a file, and cells of formulas."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.ingest.domain.imports import report
from mailwarren.ingest.domain.imports.formulas import OURS, as_written, harmless
from mailwarren.ingest.domain.imports.head import check_delimiter, read_head
from mailwarren.ingest.domain.imports.records import AHEAD, MAX_RECORD, Part, read_records
from mailwarren.ingest.domain.imports.rows import Failure
from mailwarren.ingest.domain.refusal import Refusal

CELLS = st.text(st.characters(exclude_characters="\x00\r", exclude_categories=["Cs"]), max_size=12).map(str.lstrip)
TABLES = st.lists(st.lists(CELLS, min_size=1, max_size=4).filter(any), max_size=12)


def whole(text: bytes, most: int = 100) -> Part:
    return read_records(text, 0, (0, 1), ",", most, whole=True)


def written(table: list[list[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(table)
    return out.getvalue().encode()


@given(TABLES, st.integers(1, 5))
def test_a_reader_goes_on_where_another_stopped(table: list[list[str]], most: int) -> None:
    text = written(table)
    found, place, ended = [], (0, 1), False
    while not ended:
        part = read_records(text, 0, place, ",", most, whole=True)
        found += part.records
        place, ended = (part.position, part.line), part.ended
    assert [record.cells for record in found] == table
    assert found == whole(text).records
    assert place == (len(text), text.count(b"\n") + 1)


@given(TABLES.filter(bool), st.integers(0, 11))
def test_a_window_that_begins_later_finds_the_same(table: list[list[str]], skip: int) -> None:
    text = written(table)
    all_of_it = whole(text).records
    first = whole(text, min(skip, len(all_of_it) - 1) or 1)
    rest = read_records(text[first.position :], first.position, (first.position, first.line), ",", 100, whole=True)
    assert first.records + rest.records == all_of_it


def test_a_record_is_not_begun_where_its_end_may_not_be_in_the_window() -> None:
    line = b"bob@example.org,Bob\n"
    text = line * (3 * AHEAD // len(line))
    window = text[: 2 * AHEAD + 7]  # inside of a line
    part = read_records(window, 0, (0, 1), ",", 10**9, whole=False)
    assert not part.ended
    assert AHEAD <= part.position < AHEAD + len(line)
    assert {record.problem for record in part.records} == {None}
    assert len(part.records) == part.position // len(line) == part.line - 1


def test_empty_lines_are_no_records_and_keep_their_numbers() -> None:
    part = whole(b"\na,b\n\n,\n\nc,d")
    assert [(record.line, record.cells) for record in part.records] == [(2, ["a", "b"]), (6, ["c", "d"])]
    assert part.ended


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'a,"b"c\nx,y\n', "The row was not read: a quote ends before its cell does"),
        (b'x,y\na,"b\nc\nd\n', "Lines 2 to 4 were not read: the file ends inside of a quoted cell"),
        (b"x,y\n" + b"b" * 131_073 + b",c\n", "The row was not read: a cell is longer than 131,072 characters."),
    ],
)
def test_what_cannot_be_read_costs_its_own_lines_only(text: bytes, problem: str) -> None:
    records = whole(text).records
    assert [record.cells for record in records if record.problem is None] == [["x", "y"]]
    (broken,) = [record.problem for record in records if record.problem]
    assert broken.startswith(problem)


def test_a_quote_that_is_never_closed_names_its_lines_and_reading_goes_on() -> None:
    text = b'a,b\nc,"d\n' + b"e,f\n" * 50_000
    records = whole(text, 10**9).records
    first, broken, *rest = records
    assert (first.cells, broken.cells, rest[0].cells) == (["a", "b"], [], ["e", "f"])
    assert broken.problem
    assert broken.problem.startswith("Lines 2 to ")
    assert "never closed" in broken.problem
    last = int(broken.problem.split(" ")[3])
    assert 2 + len(rest) + last - 2 == 50_002 == rest[-1].line


def test_a_record_longer_than_a_megabyte_is_one_problem() -> None:
    cell = '"' + "line\n" * 20_000 + '"'
    text = (",".join([cell] * 15) + "\nx,y\n").encode()
    assert len(text) > MAX_RECORD
    problems = [record.problem for record in whole(text, 10**9).records if record.problem]
    assert "longer than 1 MB" in problems[0]
    assert problems[0].startswith("Lines 1 to ")


@pytest.mark.parametrize(
    ("text", "delimiter", "columns"),
    [
        (b"email,name\na@x.org,A\n", ",", ["email", "name"]),
        (b"email;name\na@x.org;A\n", ";", ["email", "name"]),
        (b"email\tname\na@x.org\tA\n", "\t", ["email", "name"]),
        (b"email|name\na@x.org|A\n", "|", ["email", "name"]),
        (b"email\na@x.org\n", ",", ["email"]),
        (b'name;email\n"Doe, John";a@x.org\nRoe, Jane;b@x.org\n', ";", ["name", "email"]),
        (b"email,note\na@x.org,a;b;c\nb@x.org,d;e\n", ",", ["email", "note"]),
        (b"sep=;\nemail;name\na@x.org;A\n", ";", ["email", "name"]),
        (b"\n\n Email , name \na@x.org,A\n", ",", ["Email", "name"]),
        (b'"e,mail","name"\n"a@x.org","A"\n', ",", ["e,mail", "name"]),
    ],
)
def test_delimiter_and_columns_are_found_out(text: bytes, delimiter: str, columns: list[str]) -> None:
    head = read_head(text, None, whole=True)
    assert (head.delimiter, head.columns) == (delimiter, columns)
    assert head.rows[0].cells[columns.index("email") if "email" in columns else 0].endswith("@x.org")
    rest = read_records(text, 0, head.place, delimiter, 100, whole=True).records
    assert rest == head.rows


def test_a_delimiter_may_be_told() -> None:
    assert read_head(b"a;b,c\n1;2,3\n", ",", whole=True).columns == ["a;b", "c"]
    assert check_delimiter("tab") == "\t"
    with pytest.raises(Refusal, match="`delimiter`"):
        check_delimiter("x")


@pytest.mark.parametrize("text", [b"", b"\n\n", b"email\n", b"email,name", b"email\n\n,\n"])
def test_a_file_without_rows_is_refused(text: bytes) -> None:
    with pytest.raises(Refusal, match="has no rows"):
        read_head(text, None, whole=True)


def test_the_beginning_of_a_long_file_is_enough() -> None:
    text = b"email,name\n" + "zoe@x.org,Zoë\n".encode() * 20_000
    for cut in range(100_000, 100_015):
        head = read_head(text[:cut], None, whole=False)
        assert head.columns == ["email", "name"]
        assert head.place == (11, 2)
    with pytest.raises(Refusal, match="longer than 256 kB"):
        read_head(b"x" * 262_144, None, whole=False)
    with pytest.raises(Refusal, match="501 columns"):
        read_head(b",".join([b"x"] * 501) + b"\n1\n", None, whole=True)


DANGEROUS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1", "=cmd|' /C calc'!A0"]


@pytest.mark.parametrize("cell", DANGEROUS)
def test_no_cell_of_a_report_is_a_formula(cell: str) -> None:
    failure = Failure(3, 4, ["bob", cell], "no address")
    text = report.first_line(["email", cell]) + report.lines([failure])
    assert text.startswith(b"\xef\xbb\xbf")
    head, row = csv.reader(io.StringIO(text.decode("utf-8-sig"), newline=""))
    assert head == [*OURS, "email", f"'{cell}"]
    assert row == ["3", "4", "no address", "bob", f"'{cell}"]
    assert as_written(row[-1]) == cell


@given(st.text(max_size=20))
def test_a_report_that_is_uploaded_again_says_the_same(cell: str) -> None:
    assert as_written(harmless(cell)) == cell or cell.startswith("'")
    assert not harmless(cell).lstrip(" ").startswith(("=", "+", "-", "@"))
