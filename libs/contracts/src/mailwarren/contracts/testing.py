"""Builders of valid messages for the tests of every service: say only what matters to the test."""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from mailwarren.contracts.events import Event, Kind
from mailwarren.contracts.ids import delivery_id, event_id, new_id
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Attempt, Content, Delivery, Parcel
from mailwarren.contracts.reply import Reply
from mailwarren.contracts.routing import domain_of
from mailwarren.contracts.shards import shard_of

TENANT = UUID("018f0000-0000-7000-8000-000000000001")


def a_content(**changes: Any) -> Content:
    """A short literal mail."""
    values: dict[str, Any] = {"sender": "Ada <ada@sender.test>", "subject": "Hello", "text": "Hello, you."}
    return Content(**(values | changes))


def a_delivery(to: str = "bob@example.test", email_id: UUID | None = None, **changes: Any) -> Delivery:
    """A delivery of an email of its own."""
    email = email_id or new_id()
    values: dict[str, Any] = {
        "id": delivery_id(email, to),
        "email_id": email,
        "to": to,
        "message_id": f"{email.hex}@sender.test",
        "mailbox": to,
    }
    return Delivery(**(values | changes))


def a_parcel(*, to: Sequence[str] = ("bob@example.test",), content: Content | None = None, **changes: Any) -> Parcel:
    """A parcel with one email for each address of ``to``, in the shard of the first."""
    values: dict[str, Any] = {
        "id": new_id(),
        "tenant": TENANT,
        "lane": Lane.NORMAL,
        "shard": shard_of(domain_of(to[0])),
        "partition": 3,
        "content": content or a_content(),
        "deliveries": tuple(a_delivery(address) for address in to),
        "accepted_at": time.time(),
    }
    return Parcel(**(values | changes))


def an_attempt(number: int = 1, reply: Reply | None = None, **changes: Any) -> Attempt:
    """An attempt that a server answered with 250."""
    values: dict[str, Any] = {
        "number": number,
        "at": time.time(),
        "reply": reply or Reply(250, "queued", "2.0.0"),
        "site": "example.test",
        "host": "mx.example.test:25",
        "duration": 0.02,
    }
    return Attempt(**(values | changes))


def an_event(parcel: Parcel, kind: Kind = Kind.DELIVERED, index: int = 0, **changes: Any) -> Event:
    """What became of one delivery of a parcel in the attempt that the parcel is at."""
    delivery = parcel.deliveries[index]
    values: dict[str, Any] = {
        "id": event_id(delivery.id, parcel.attempt, kind),
        "kind": kind,
        "delivery": delivery.id,
        "email_id": delivery.email_id,
        "tenant": parcel.tenant,
        "lane": parcel.lane,
        "to": delivery.to,
        "at": time.time(),
        "attempt": parcel.attempt,
        "tried": an_attempt(parcel.attempt),
        "accepted_at": parcel.accepted_at,
    }
    return Event(**(values | changes))
