"""Frames that are filled in say what pamqp says."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from mailwarren.runtime.frames import ID_LENGTH, Framer

NAMES = st.sampled_from(["id", "root_id", "mw-version", "mw-type", "mw-reason", "x-death", "%b", "ignore_result"])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**31), 2**31),
    st.floats(allow_nan=False, width=32),
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.uuids().map(str),
    st.sampled_from(["%b", "\x01mw-id\x02" + "\x03" * 29, "\x01mw-message-id\x02", "é" * 18]),
    st.lists(st.integers(0, 9), max_size=3),
    st.dictionaries(st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=5), st.booleans()),
)
HEADERS = st.dictionaries(NAMES, VALUES)
IDS = st.integers(0, 16**ID_LENGTH - 1).map(lambda number: f"{number:0{ID_LENGTH}x}")


def said_by_pamqp(headers, message_id, body):
    properties = commands.Basic.Properties(
        content_type="application/json",
        content_encoding="utf-8",
        headers=headers,
        delivery_mode=2,
        message_id=message_id,
    )
    return frame.unmarshal(frame.marshal(ContentHeader(body_size=len(body), properties=properties), 7))


def same(one, other):
    (_, channel, ours), (_, expected, theirs) = one, other
    assert channel == expected
    assert (ours.body_size, ours.properties) == (theirs.body_size, theirs.properties)
    # True == 1, and a broker's consumer would see the difference.
    kinds = [{name: repr(value) for name, value in of.properties.headers.items()} for of in (ours, theirs)]
    assert kinds[0] == kinds[1]


@given(HEADERS, IDS, st.binary(max_size=50))
def test_a_header_is_pamqps(headers, message_id, body) -> None:
    _, header, *_ = Framer(7, 1000).frames(("x", "k", True), headers, message_id, body)
    same(frame.unmarshal(header), said_by_pamqp(headers, message_id, body))


@given(st.lists(st.tuples(HEADERS, IDS, st.binary(max_size=5)), max_size=8))
def test_no_message_has_anything_of_another(messages) -> None:
    framer = Framer(7, 1000)
    for headers, message_id, body in messages:
        for values in (headers, headers | {"id": str(uuid4()), "root_id": str(uuid4())}):
            same(
                frame.unmarshal(framer.frames(("x", "k", True), values, message_id, body)[1]),
                said_by_pamqp(values, message_id, body),
            )


@pytest.mark.parametrize("mandatory", [True, False])
def test_the_method_names_exchange_and_key(mandatory) -> None:
    first, *_ = Framer(7, 1000).frames(("mail.accept", "bulk.h1", mandatory), {}, "0" * ID_LENGTH, b"")
    _, channel, publish = frame.unmarshal(first)
    assert channel == 7
    assert (publish.exchange, publish.routing_key, publish.mandatory) == ("mail.accept", "bulk.h1", mandatory)


@given(st.binary(max_size=50), st.integers(1, 20))
def test_a_body_is_cut_into_frames_of_the_size_that_may_be(body, most) -> None:
    _, _, *parts = Framer(7, most).frames(("x", "k", True), {}, "0" * ID_LENGTH, body)
    found = [frame.unmarshal(part)[2] for part in parts]
    assert all(isinstance(part, ContentBody) and 0 < len(part.value) <= most for part in found)
    assert b"".join(part.value for part in found) == body


@pytest.mark.parametrize("target", [("x", "k" * 256, True), ("x", "é" * 128, True), ("x" * 256, "k", True)])
def test_a_name_that_is_too_long_is_a_wrong_value(target) -> None:
    with pytest.raises(ValueError, match=r"long|length"):
        Framer(7, 1000).frames(target, {}, "0" * ID_LENGTH, b"")


def test_a_header_of_no_type_of_amqps_is_a_wrong_type() -> None:
    with pytest.raises(TypeError):
        Framer(7, 1000).frames(("x", "k", True), {"odd": object()}, "0" * ID_LENGTH, b"")
