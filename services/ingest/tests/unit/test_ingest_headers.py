"""Header fields: nothing that could end a line or take the place of ours gets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.ingest.domain.headers import check_headers, check_value
from mailwarren.ingest.domain.refusal import Refusal


@pytest.mark.parametrize(
    "name",
    [
        "From", "to", "CC", "Bcc", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "content-anything",
        "Received", "Return-Path", "DKIM-Signature", "Sender", "Reply-To", "Resent-From", "ARC-Seal",
        "Authentication-Results", "Delivered-To",
    ],
)  # fmt: skip
def test_headers_that_are_ours_are_refused_by_name(name):
    with pytest.raises(Refusal, match=f"`{name}`"):
        check_headers({name: "x"})


@pytest.mark.parametrize("name", ["List-Unsubscribe", "X-Entity-Ref-ID", "In-Reply-To", "References", "Precedence"])
def test_other_headers_are_taken(name):
    assert check_headers({name: "<https://x.test/u?i=1>\tb"}) == {name: "<https://x.test/u?i=1>\tb"}


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ä", "a\r\nb", "a\x7f"])
def test_what_is_no_header_name(name):
    with pytest.raises(Refusal, match="not a header name"):
        check_headers({name: "x"})


@given(st.text(max_size=300))
def test_no_control_character_reaches_a_header(value):
    bad = any((ord(char) < 32 and char != "\t") or ord(char) == 127 for char in value)
    if bad or len(value.encode()) > 998:
        with pytest.raises(Refusal, match="`subject`"):
            check_value(value, "subject")
    else:
        assert check_value(value, "subject") == value


def test_a_line_has_998_bytes_with_its_name():
    assert check_headers({"X-Long": "a" * 990})
    for name, value in (("X-Long", "a" * 991), ("X" * 500, "a" * 497), ("X-Long", "é" * 500)):
        with pytest.raises(Refusal, match="998"):
            check_headers({name: value})


def test_a_header_is_given_once_and_there_are_not_too_many():
    with pytest.raises(Refusal, match="twice"):
        check_headers({"X-A": "1", "x-a": "2"})
    with pytest.raises(Refusal, match="50"):
        check_headers({f"X-{n}": "1" for n in range(51)})
