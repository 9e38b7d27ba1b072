import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.sender.smtp import Command, Reply
from mailwarren.sender.smtp.replies import (
    LONGEST_LINE,
    LONGEST_TEXT,
    MOST_LINES,
    RawReply,
    ReplyParser,
    to_reply,
)

TEXT = st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"?").replace(b"\r", b"?"))
REPLY = st.tuples(st.integers(200, 599), st.lists(TEXT, min_size=1, max_size=5))


def _wire(replies: list[tuple[int, list[bytes]]], end: bytes = b"\r\n") -> bytes:
    return b"".join(
        b"%d%b%b%b" % (code, b"-" if n < len(lines) else b" ", line, end)
        for code, lines in replies
        for n, line in enumerate(lines, 1)
    )


def _chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


@given(st.lists(REPLY, max_size=6), st.lists(st.integers(0, 10_000), max_size=20), st.sampled_from([b"\r\n", b"\n"]))
def test_replies_are_the_same_however_they_are_cut(replies, cuts, end):
    parser = ReplyParser()

    found = [reply for chunk in _chunks(_wire(replies, end), cuts) for reply in parser.feed(chunk)]

    assert found == [RawReply(code, tuple(lines)) for code, lines in replies]
    assert parser.broken is None
    assert not parser.pending


@given(st.binary(max_size=200), st.lists(st.integers(0, 10_000), max_size=20))
def test_any_octets_give_the_same_replies_and_the_same_verdict_however_they_are_cut(data, cuts):
    whole, cut = ReplyParser(), ReplyParser()

    assert [reply for chunk in _chunks(data, cuts) for reply in cut.feed(chunk)] == whole.feed(data)
    assert (cut.broken is None) == (whole.broken is None)


@given(st.binary(max_size=400))
def test_octets_without_a_valid_code_never_become_a_reply(data):
    assert ReplyParser().feed(b"9" + data.replace(b"\n", b"") + b"\r\n") == []


@pytest.mark.parametrize(
    "line", [b"", b"25", b"2x0 hello", b"+25 hello", b" 250 hello", b"2500 hello", b"199 x", b"600 x", b"250_x"]
)
def test_a_line_that_is_no_reply_breaks_the_parser(line):
    parser = ReplyParser()

    assert parser.feed(b"250 before\r\n" + line + b"\r\n250 after\r\n") == [RawReply(250, (b"before",))]
    assert parser.broken
    assert parser.feed(b"250 later\r\n") == []


def test_a_code_alone_is_a_reply():
    assert ReplyParser().feed(b"250\r\n354\n") == [RawReply(250, (b"",)), RawReply(354, (b"",))]


def test_lines_of_one_reply_have_one_code():
    parser = ReplyParser()

    assert parser.feed(b"250-one\r\n251 two\r\n") == []
    assert parser.broken


def test_the_number_of_lines_is_bounded():
    good, bad = ReplyParser(), ReplyParser()

    (reply,) = good.feed(b"250-x\r\n" * MOST_LINES + b"250 x\r\n")
    assert len(reply.lines) == MOST_LINES + 1
    assert bad.feed(b"250-x\r\n" * (MOST_LINES + 1)) == []
    assert bad.broken


@pytest.mark.parametrize("end", [b"", b"\r\n"])
def test_the_length_of_a_line_is_bounded(end):
    parser = ReplyParser()

    assert parser.feed(b"250 " + b"x" * LONGEST_LINE + end) == []
    assert parser.broken


def test_a_reply_under_way_is_pending():
    parser = ReplyParser()
    parser.feed(b"25")
    assert parser.pending
    parser.feed(b"0-x\r\n")
    assert parser.pending
    parser.feed(b"250 x\r\n")
    assert not parser.pending


@pytest.mark.parametrize(
    ("lines", "enhanced", "text"),
    [
        ((b"2.1.0 Sender ok",), "2.1.0", "Sender ok"),
        ((b"Sender ok",), None, "Sender ok"),
        ((b"5.1.1",), "5.1.1", ""),
        ((b"5.1.1   <u@x>: User unknown",), "5.1.1", "<u@x>: User unknown"),
        (
            (
                b"5.7.26 This mail has been blocked because",
                b"5.7.26 the sender is unauthenticated.",
                b"5.7.26  x - gsmtp",
            ),
            "5.7.26",
            "This mail has been blocked because the sender is unauthenticated. x - gsmtp",
        ),
        ((b"", b"4.7.0 wait", b""), "4.7.0", "wait"),
        ((b"5.1.1 no", b"5.2.2 really"), "5.1.1", "no 5.2.2 really"),
        ((b"1.2.3 is our version",), None, "1.2.3 is our version"),
        ((b"5.7.1234 x",), None, "5.7.1234 x"),
        ((b"10.5.1.1 is blocked",), None, "10.5.1.1 is blocked"),
        ((b"5.1.1.9 is blocked",), None, "5.1.1.9 is blocked"),
        ((b"gr\xc3\xbc\xc3\x9fe \xff\x00\x1b[1m",), None, "grüße \ufffd [1m"),
    ],
)
def test_enhanced_code_and_text_are_read_from_all_lines(lines, enhanced, text):
    assert to_reply(RawReply(550, lines), Command.RCPT) == Reply(550, text, enhanced, Command.RCPT)


def test_the_text_kept_is_bounded():
    assert len(to_reply(RawReply(250, (b"x" * LONGEST_LINE,) * 5), Command.DOT).text) == LONGEST_TEXT
