"""One row that cannot be read does not sink the others; a request that is no JSON is still none."""

import json
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.ingest.domain.bulk import validate_bulk, validate_row
from mailwarren.ingest.domain.decoding import canonical, decode_batch, decode_bulk
from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.ingest.domain.rows import split_rows

GOOD = '{"to": "g@x.test", "variables": {"name": "a, [b] {c} \\" d"}}'
UNREADABLE = [
    '{"to": "b@x.test", "variables": {"name": "\\ud83d"}}',
    '{"to": "b@x.test", "variables": {"name": ' + "[" * 1500 + "]" * 1500 + "}}",
]


def bulk(*rows: str, more: str = "") -> bytes:
    fields = '"from": "a@s.test", "subject": "s", "text": "recipients"' + more
    return f'{{{fields}, "recipients": [{", ".join(rows)}], "metadata": {{"recipients": "x"}}}}'.encode()


@pytest.mark.parametrize("row", UNREADABLE, ids=["surrogate", "deep"])
def test_the_other_rows_are_there(row: str) -> None:
    body = decode_bulk(bulk(GOOD, row, GOOD))
    assert [bytes(one) for one in body.recipients] == [GOOD.encode(), row.encode(), GOOD.encode()]
    assert body.metadata == {"recipients": "x"}
    assert [bytes(one) for one in decode_batch(f"[{row},{GOOD}]".encode())] == [row.encode(), GOOD.encode()]


@pytest.mark.parametrize(
    "body",
    [
        bulk(GOOD, '{"to": }'),
        bulk(GOOD, UNREADABLE[0], '{"to": "a" "b"}'),
        bulk(GOOD, UNREADABLE[0])[:-3],
        bulk(GOOD, more=', "html": "\\ud83d"'),
        b'{"recipients": [',
        b"",
    ],
    ids=["no JSON", "a bad row and no JSON", "cut off", "outside of the rows", "begun", "empty"],
)
def test_what_is_no_json_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        decode_bulk(body)
    assert caught.value.status == 400


def test_a_million_rows_are_not_told_apart() -> None:
    begin = time.process_time()
    assert split_rows(b'{"recipients": ["\\ud83d"' + b",[]" * 1_000_000 + b"]}", "recipients") is None
    assert time.process_time() - begin < 0.2


def test_a_row_that_cannot_be_read_is_named() -> None:
    mail = validate_bulk(decode_bulk(bulk(GOOD)))
    for row, words in zip(UNREADABLE, ("surrogate", "nested too deeply"), strict=True):
        with pytest.raises(Refusal, match=r"^`recipients\[3\]` is .*" + words):
            validate_row(mail, 3, msgspec.Raw(row.encode()))


def test_a_body_that_cannot_be_read_stands_for_itself_in_a_fingerprint() -> None:
    body = bulk(GOOD, UNREADABLE[0])
    assert canonical(body) == body
    assert canonical(b'{"n": 1e999}') == b'{"n": 1e999}'
    assert canonical(b'{"b": 1, "a": 2}') == b'{"a":2,"b":1}'


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(VALUES, min_size=1, max_size=5), st.dictionaries(st.text(max_size=4), VALUES, max_size=3), st.booleans()
)
def test_rows_are_told_apart_as_json_does(rows: list[object], others: dict[str, object], spaced: bool) -> None:
    separators = (", ", ": ") if spaced else (",", ":")
    body = json.dumps(others | {"recipients": rows}, separators=separators).encode()
    found = split_rows(body, "recipients")
    assert found is not None
    rest, split = found
    assert [msgspec.json.decode(one) for one in split] == rows
    assert msgspec.json.decode(rest) == others | {"recipients": []}
