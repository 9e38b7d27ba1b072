import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailwarren.sender.smtp import Envelope, prepare_data, prepare_pieces
from mailwarren.sender.smtp.envelope import has_utf8_fields


def _unstuff(wire: bytes) -> bytes:
    """What a receiver makes of message data (RFC 5321 §4.5.2), up to the first end of data."""
    lines = []
    rest = wire
    while True:
        line, end, rest = rest.partition(b"\r\n")
        assert end, "no end of data"
        if line == b".":
            assert rest == b"", "octets after the end of data"
            return b"".join(line + b"\r\n" for line in lines)
        lines.append(line.removeprefix(b"."))


def _normalised(message: bytes) -> bytes:
    lines = re.split(rb"\r\n|\r|\n", message)
    if lines[-1] == b"":
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


LINES = st.lists(
    st.sampled_from([b"", b".", b"..", b".x", b"x", b"\r", b"\n", b"\r\n", b"\r\n.\r\n", b"\0", b"\x85", b"\x0c"])
)


@given(st.one_of(st.binary(max_size=200), LINES.map(b"".join)))
@example(b"")
@example(b".")
@example(b"x")
@example(b"x\r\n.\r\nMAIL FROM:<evil@x>\r\n")
@example(b"x\n.\nMAIL FROM:<evil@x>\n")
@example(b"x\r.\rMAIL FROM:<evil@x>\r")
@example(b"x\r\n.\rx")
def test_a_receiver_gets_back_the_message_with_its_line_ends_normalised(message):
    assert _unstuff(prepare_data(message)) == _normalised(message)


@given(st.one_of(st.binary(max_size=200), LINES.map(b"".join)))
def test_wire_form_has_no_bare_line_ends_and_one_end_of_data(message):
    wire = prepare_data(message)

    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", wire)
    assert (b"\r\n" + wire).count(b"\r\n.\r\n") == 1
    assert wire.endswith(b".\r\n")


@pytest.mark.parametrize("evil", ["\r", "\n", "\r\n", "\0", " ", "\t", ">", "<", "\x7f", "\x85", "\x0b"])
@pytest.mark.parametrize("place", ["{}a@x.example", "a{}b@x.example", "a@x{}.example", "a@x.example{}"])
def test_what_could_end_a_command_reaches_none(evil, place):
    address = place.format(evil)

    with pytest.raises(ValueError, match="may not hold"):
        Envelope("", address)
    with pytest.raises(ValueError, match="may not hold"):
        Envelope(address, "b@x.example")


@given(st.text(max_size=50))
def test_no_text_gets_a_line_end_space_or_bracket_into_a_path(text):
    try:
        envelope = Envelope("a@x.example", text)
    except ValueError:
        return
    assert not re.search(rb"[\x00-\x20<>\x7f]", envelope.forward_path)
    assert len(envelope.forward_path) <= 320


@pytest.mark.parametrize(
    "address", ["", "postmaster", "@x.example", "a@", "a@" + "x" * 320, "a@\ud800.example", "a@ex..ämple"]
)
def test_what_is_no_address_is_no_recipient(address):
    with pytest.raises(ValueError, match=r"."):
        Envelope("", address)


@pytest.mark.parametrize(
    ("address", "path", "utf8"),
    [
        ("a+b@x.example", b"a+b@x.example", False),
        ('"a.b"@x.example', b'"a.b"@x.example', False),
        ("a@Bücher.example", b"a@xn--bcher-kva.example", False),
        ("jürgen@x.example", "jürgen@x.example".encode(), True),
        ("用户@例子.example", "用户@例子.example".encode(), True),
    ],
)
def test_addresses_are_encoded_with_as_little_smtputf8_as_possible(address, path, utf8):
    assert Envelope(address, "b@x.example").reverse_path == path
    envelope = Envelope("", address)
    assert (envelope.reverse_path, envelope.forward_path, envelope.utf8) == (b"", path, utf8)


@pytest.mark.parametrize(
    ("message", "needs"),
    [
        (b"To: a@x\r\n\r\nplain\r\n", False),
        ("To: a@x\r\n\r\nGrüße\r\n".encode(), False),
        ("To: ü@x\r\n\r\nplain\r\n".encode(), True),
        ("To: a@x\r\nCc: ü@x\r\n\r\nGrüße\r\n".encode(), True),
        ("a body alone: ü\r\n".encode(), False),
    ],
)
def test_a_header_needs_smtputf8_for_its_own_octets_alone(message, needs):
    assert has_utf8_fields(prepare_data(message)) == needs
    assert has_utf8_fields(prepare_pieces([message, memoryview(b"QUJD\r\n"), b"--b--\r\n"])) == needs
