"""The bytes: msgspec JSON with a version in the AMQP headers.

Parcels travel as Celery protocol-2 messages (``[args, kwargs, embed]``), because the senders are Celery workers and
the tracker reads the same copy. Everything else is one tagged JSON object.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from mailwarren.contracts.events import ControlEntry, Outcomes, TrackerMessage
from mailwarren.contracts.ids import PARTITIONS
from mailwarren.contracts.order import Order
from mailwarren.contracts.parcel import Parcel
from mailwarren.contracts.settle import Answer, Question
from mailwarren.contracts.shaping import Keeper, Notice, Override, Token
from mailwarren.contracts.tracking import Hits

VERSION = 2
"""The newest version that this code reads; it reads all before it too."""
WRITTEN = 1
"""The version that it writes. A new one is read by a release before one writes it, so that the release before, beside
this one or after a rollback, reads all that this one wrote (ADR 0019)."""
WITH_NEEDS = 2
"""The version of a parcel that asks for more than code of version 1 would do: it would read it, and send the mail
without its attachments or links to unsubscribe, unsigned, from another envelope sender, without the TLS that it asks
for, or untracked under the signature of its tracked text."""
WITH_HITS = 2
"""The version of a message of hits: to code of version 1 it would be no message at all."""
VERSION_HEADER = "mw-version"
OF_A_LANE = 2
"""The version of an override that is about one lane of a tenant: code of version 1 would suspend all of them."""
TYPE_HEADER = "mw-type"
TRACE_HEADER = "traceparent"
"""A copy of a parcel's ``trace``, for what looks at headers only; what travels from hop to hop is the parcel's own."""
TASK = "mail.send"

T = TypeVar("T")


class Undecodable(ValueError):
    """The bytes are not a message of ours; the text says why. Such a message is parked."""


class NewerVersion(ValueError):
    """Written by a newer version; to be put back for a consumer that knows it."""


class _Kwargs(msgspec.Struct, frozen=True):
    parcel: Parcel


class _OrderKwargs(msgspec.Struct, frozen=True):
    order: Order


_encoder = msgspec.json.Encoder()
_parcel = msgspec.json.Decoder(tuple[list[Any], _Kwargs, dict[str, Any]])
_order = msgspec.json.Decoder(tuple[list[Any], _OrderKwargs, dict[str, Any]])
_tracker: "msgspec.json.Decoder[TrackerMessage]" = msgspec.json.Decoder(TrackerMessage)
_control: "msgspec.json.Decoder[ControlEntry]" = msgspec.json.Decoder(ControlEntry)
_answer = msgspec.json.Decoder(Answer)
_notice: "msgspec.json.Decoder[Notice]" = msgspec.json.Decoder(Notice)
_token = msgspec.json.Decoder(Token)
_keeper = msgspec.json.Decoder(Keeper)


def encode_parcel(parcel: Parcel) -> bytes:
    """The body of a parcel's message."""
    return _encoder.encode(((), _Kwargs(parcel), {}))


def parcel_headers(parcel: Parcel) -> dict[str, Any]:
    """The AMQP headers that Celery 5.7 requires, with ours. ``argsrepr`` is empty: it would leak into logs."""
    ident = str(parcel.id)
    headers: dict[str, Any] = {
        "lang": "py",
        "task": TASK,
        "id": ident,
        "root_id": ident,
        "parent_id": None,
        "group": None,
        "argsrepr": "",
        "kwargsrepr": "",
        "ignore_result": True,
        VERSION_HEADER: max(WRITTEN, WITH_NEEDS) if _has_needs(parcel) else WRITTEN,
        TYPE_HEADER: "parcel",
    }
    if parcel.trace is not None:
        headers[TRACE_HEADER] = parcel.trace
    return headers


def _has_needs(parcel: Parcel) -> bool:
    content = parcel.content
    return (
        bool(content.attachments)
        or content.signing is not None
        or content.envelope_sender is not None
        or content.tls is not None
        or (content.tracking is not None and bool(content.tracking.base))
        or (parcel.unsubscribe is not None and bool(parcel.unsubscribe.base))
    )


def decode_parcel(body: bytes, headers: Mapping[str, Any]) -> Parcel:
    """The parcel of a message.

    Raises:
        NewerVersion: the version header is above ours.
        Undecodable: no version, or not a parcel.
    """
    parcel = _decode(_parcel, body, headers)[1].parcel
    if not parcel.deliveries:
        raise Undecodable("a parcel without deliveries")
    if not 0 <= parcel.partition < PARTITIONS:
        # Its outcomes would have no queue to go to.
        raise Undecodable(f"there is no partition {parcel.partition}")
    return parcel


def is_parcel(headers: Mapping[str, Any]) -> bool:
    """Whether a tracker message is a parcel (an acceptance or a deferral) and not a tagged object."""
    return headers.get(TYPE_HEADER) == "parcel"


def encode_order(order: Order) -> bytes:
    """The body of an order's message: a Celery task with one argument."""
    return _encoder.encode(((), _OrderKwargs(order), {}))


def order_headers(order: Order) -> dict[str, Any]:
    """The AMQP headers that Celery requires, with ours. Flower shows ``kwargsrepr``; there is no address in it."""
    ident = str(order.id)
    about = f", 'subject': '{order.subject}'" if order.subject else ""
    return {
        "lang": "py",
        "task": order.work,
        "id": ident,
        "root_id": ident,
        "parent_id": None,
        "group": None,
        "retries": order.attempt - 1,
        "argsrepr": "()",
        "kwargsrepr": f"{{'attempt': {order.attempt}, 'due_at': {order.due_at:.3f}{about}}}",
        "ignore_result": True,
        VERSION_HEADER: WRITTEN,
        TYPE_HEADER: "order",
    }


def decode_order(body: bytes, headers: Mapping[str, Any]) -> Order:
    """The order of a message; errors as :func:`decode_parcel`."""
    order = _decode(_order, body, headers)[1].order
    if headers.get("task") != order.work or headers.get("id") != str(order.id):
        raise Undecodable("the headers name another task than the order")
    if order.attempt < 1:
        raise Undecodable("attempts count from 1")
    return order


Tagged = Outcomes | Question | Answer | ControlEntry | Notice | Token | Keeper | Hits
"""What travels as one JSON object."""


def encode(value: Tagged) -> bytes:
    """The body of any other message."""
    return _encoder.encode(value)


def _version_of(value: Tagged) -> int:
    if isinstance(value, Hits):
        return max(WRITTEN, WITH_HITS)
    if isinstance(value, Override) and value.lane is not None:
        return max(WRITTEN, OF_A_LANE)
    return WRITTEN


def headers_of(value: Tagged) -> dict[str, Any]:
    """The AMQP headers of any other message."""
    version = _version_of(value)
    return {VERSION_HEADER: version, TYPE_HEADER: str(value.__struct_config__.tag or type(value).__name__.lower())}


def decode_tracker(body: bytes, headers: Mapping[str, Any]) -> TrackerMessage:
    """What reached an event partition and is no parcel; errors as :func:`decode_parcel`."""
    return _decode(_tracker, body, headers)


def decode_control(body: bytes, headers: Mapping[str, Any]) -> ControlEntry:
    """An entry of the control log; errors as :func:`decode_parcel`."""
    return _decode(_control, body, headers)


def decode_answer(body: bytes, headers: Mapping[str, Any]) -> Answer:
    """An answer of the tracker; errors as :func:`decode_parcel`."""
    return _decode(_answer, body, headers)


def decode_notice(body: bytes, headers: Mapping[str, Any]) -> Notice:
    """What a sender says to all; errors as :func:`decode_parcel`."""
    return _decode(_notice, body, headers)


def decode_token(body: bytes, headers: Mapping[str, Any]) -> Token:
    """A slot; errors as :func:`decode_parcel`."""
    return _decode(_token, body, headers)


def decode_keeper(body: bytes, headers: Mapping[str, Any]) -> Keeper:
    """The keeper's message; errors as :func:`decode_parcel`."""
    return _decode(_keeper, body, headers)


def _decode(decoder: "msgspec.json.Decoder[T]", body: bytes, headers: Mapping[str, Any]) -> T:
    version = headers.get(VERSION_HEADER)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise Undecodable(f"no {VERSION_HEADER} header")
    if version > VERSION:
        raise NewerVersion(f"version {version}, this consumer knows {VERSION}")
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(str(error)) from error
