"""A message as the bytes of its AMQP frames.

pamqp takes some 50 µs to marshal a publish, nearly all of it for what is alike in thousands of messages: the exchange,
the key, the properties, the names and most values of the headers. So pamqp marshals each kind of message once, with
marks where its messages differ; each message then puts its own values in the places of the marks. They are of the
same length as the marks, so that nothing else in the frame changes.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

ID_LENGTH = 16
"""Characters (ASCII) of a message id."""
# Enough for what a process says all day: every key with every partition or rung, a few dozen kinds of headers. What
# is rarer is marshalled again.
_KEYS = 4096
_KINDS = 256

MAX_KEY = 255
"""Octets of a routing key (AMQP's shortstr)."""
_OWN = ("id", "root_id")
"""Headers of Celery's protocol that are another UUID in every message."""
_UUID_LENGTH = 36
_PLAIN = frozenset({str, int, bool, type(None)})
"""Types of header values of which equal ones have equal bytes."""
_MARK_SIZE = 0xF16D775F73697A65
_MARK_ID = "\x01mw-message-id\x02".ljust(ID_LENGTH, "\x03")
_MARK_OWN = {name: f"\x01mw-{name}\x02".ljust(_UUID_LENGTH, "\x03") for name in _OWN}


class Framer:
    """Makes frames for one channel.

    Args:
        channel: its number.
        most: octets of content in a frame at most.
    """

    def __init__(self, channel: int, most: int) -> None:
        self._channel = channel
        self._most = most

    def frames(
        self, target: tuple[str, str, bool], headers: Mapping[str, Any], message_id: str, body: bytes
    ) -> list[bytes]:
        """The frames of a persistent JSON message.

        Args:
            target: exchange, routing key, mandatory.
            headers: as pamqp takes them.
            message_id: ASCII, of :data:`ID_LENGTH` characters.
            body: JSON.

        Raises:
            ValueError: a name that is too long.
            TypeError: a header of a type that AMQP does not have.
        """
        channel, most = self._channel, self._most
        made = [_method(channel, *target), _header(channel, headers, message_id, len(body))]
        made += [frame.marshal(ContentBody(body[at : at + most]), channel) for at in range(0, len(body), most)]
        return made


@lru_cache(_KEYS)
def _method(channel: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:  # noqa: FBT001 - a cache key
    # pamqp calls it a TypeError; a key that somebody else chose (reply_to) is a wrong value and no wrong program.
    if len(routing_key.encode()) > MAX_KEY:
        raise ValueError(f"the routing key is longer than {MAX_KEY} bytes")
    publish = commands.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
    return frame.marshal(publish, channel)


def _header(channel: int, headers: Mapping[str, Any], message_id: str, size: int) -> bytes:
    own = {
        name: text
        for name in _OWN
        if type(value := headers.get(name)) is str and len(text := value.encode()) == _UUID_LENGTH
    }
    fixed = tuple([(name, type(value), value) for name, value in headers.items() if name not in own])
    if _PLAIN.issuperset([kind for _, kind, _ in fixed]):
        form = _form(channel, fixed, tuple(own))
        if form is not None:
            return form % (size.to_bytes(8), *own.values(), message_id.encode())
    return _marshalled(channel, dict(headers), message_id, size)


@lru_cache(_KINDS)
def _form(channel: int, fixed: tuple[tuple[str, type, Any], ...], own: tuple[str, ...]) -> bytes | None:
    """The frame with a ``%b`` for the size of the body, each of the own headers, and the message id.

    None when something in the headers looks like a mark.
    """
    headers = {name: value for name, _, value in fixed} | {name: _MARK_OWN[name] for name in own}
    form = _marshalled(channel, headers, _MARK_ID, _MARK_SIZE).replace(b"%", b"%%")
    for mark in (_MARK_SIZE.to_bytes(8), *(_MARK_OWN[name].encode() for name in own), _MARK_ID.encode()):
        if form.count(mark) != 1:
            return None
        form = form.replace(mark, b"%b")
    return form


def _marshalled(channel: int, headers: dict[str, Any], message_id: str, size: int) -> bytes:
    properties = commands.Basic.Properties(
        content_type="application/json",
        content_encoding="utf-8",
        headers=headers,
        delivery_mode=2,
        message_id=message_id,
    )
    return frame.marshal(ContentHeader(body_size=size, properties=properties), channel)
