"""Reading and making ``traceparent`` (W3C Trace Context §3.2)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.runtime.traceparent import new_traceparent, read_traceparent, trace_id_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FORM = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]")


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01"),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        (f"00-{TRACE}-{SPAN}-ff", f"00-{TRACE}-{SPAN}-03"),  # flags that we do not know are not passed on
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", f"00-{TRACE}-{SPAN}-01"),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        (f"00-{TRACE}-{SPAN}-01\n", None),
        ("", None),
        (None, None),
    ],
)
def test_a_header_is_read_as_the_standard_says(given: str | None, read: str | None) -> None:
    assert read_traceparent(given) == read


@given(st.text(max_size=80) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"))
def test_what_is_read_has_the_form_or_is_none(text: str) -> None:
    read = read_traceparent(text)
    assert read is None or FORM.fullmatch(read)
    assert read is None or read_traceparent(read) == read


def test_a_new_one_is_its_own_and_not_sampled() -> None:
    made = [new_traceparent() for _ in range(100)]
    assert len({trace_id_of(one) for one in made}) == 100
    assert all(read_traceparent(one) == one and one.endswith("-00") for one in made)


def test_the_trace_id_is_the_second_part_and_none_where_there_is_none() -> None:
    assert trace_id_of(f"00-{TRACE}-{SPAN}-01") == TRACE
    assert [trace_id_of(none) for none in (None, "", "00-abc")] == [None, None, None]
