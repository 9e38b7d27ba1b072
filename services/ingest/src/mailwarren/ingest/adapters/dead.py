"""The parked messages: look at them, send them back where they came from.

They lie in ``mail.dead``; mail that came off the ladder with a key that no send queue has in ``mail.unrouted``, orders
that no worker could carry out in ``ops.dead``.

A look takes the messages and gives them back by closing the channel, in their order. A replayed parcel is marked to
be settled and counts as a change of custody: it may have been tried before it was parked, so a sender asks the tracker
what became of its deliveries before it sends anything.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any
from uuid import UUID

import aio_pika
import msgspec
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.exceptions import ChannelAccessRefused

from mailwarren.contracts.codec import NewerVersion, Undecodable, decode_parcel, encode_parcel, is_parcel
from mailwarren.contracts.parcel import Parcel
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import PublishError

REASON, FROM, EXCHANGE, KEY = "mw-reason", "mw-from", "mw-exchange", "mw-key"
_OURS = (REASON, FROM, EXCHANGE, KEY)
_OF_THE_BROKER = ("x-death", "x-first-death", "x-last-death", "x-delivery", "x-acquired")
MOST_IN_HAND = 60_000
"""AMQP counts a prefetch in 16 bits."""
LULL = 1.0
"""Seconds without a message after which no more are waited for."""

Publish = Callable[[str, str, bytes, dict[str, Any]], Awaitable[None]]
"""To an exchange under a key, confirmed."""


class DeadTrouble(Exception):
    """It could not be done; the text is for people."""


class NoShelf(DeadTrouble):
    """The queue is not there, or not for this account."""


class NoLetter(DeadTrouble):
    """There is no such dead letter."""


class NotReplayed(DeadTrouble):
    """A dead letter could not be sent back; it and those after it are still there."""

    def __init__(self, message: str, done: int) -> None:
        super().__init__(f"{message} ({done} replayed before it)")
        self.done = done


@dataclass(frozen=True, slots=True)
class Shelf:
    """A queue of parked messages. ``back_to`` is where all of it goes, under each message's key; None: as it says."""

    queue: str
    back_to: str | None = None


def shelf(topology: Topology, *, unrouted: bool = False, ops: bool = False) -> Shelf:
    """``mail.dead``, ``mail.unrouted`` or ``ops.dead``."""
    if ops:
        return Shelf(topology.ops_dead_queue.name)
    if unrouted:
        return Shelf(topology.unrouted_queue.name, topology.send.name)
    return Shelf(topology.dead_queue.name)


@dataclass(frozen=True)
class DeadLetter:
    """One parked message. ``exchange`` and ``key`` are where it would be replayed to, None when nobody knows."""

    number: int
    message: aio_pika.abc.AbstractIncomingMessage
    reason: str
    queue: str
    exchange: str | None
    key: str | None

    @cached_property
    def id(self) -> UUID:
        """Of what it holds and where it came from: its number changes as others come and go."""
        known = f"{self.exchange}\n{self.key}\n{self.message.headers.get('id')!r}\n".encode()
        return UUID(bytes=sha256(known + self.message.body).digest()[:16])

    @cached_property
    def parcel(self) -> Parcel | None:
        """The parcel in it, if it is one that we can read."""
        if not is_parcel(self.message.headers):
            return None
        try:
            return decode_parcel(self.message.body, self.message.headers)
        except (Undecodable, NewerVersion):
            return None

    def summary(self) -> dict[str, Any]:
        """A line of a list, without addresses and contents."""
        parcel = self.parcel
        line: dict[str, Any] = {
            "number": self.number,
            "reason": self.reason,
            "from": self.queue,
            "replay_to": None if self.key is None else f"{self.exchange or '(default exchange)'} {self.key}",
            "bytes": len(self.message.body),
            "id": str(self.id),
        }
        if parcel is not None:
            line |= {"parcel": str(parcel.id), "deliveries": len(parcel.deliveries), "attempt": parcel.attempt}
        return line

    def details(self) -> dict[str, Any]:
        """Everything but the content: headers, and whom it was for."""
        parcel = self.parcel
        shown = self.summary() | {"headers": dict(self.message.headers)}
        if parcel is None:
            return shown | {"body": self.message.body.decode(errors="backslashreplace")}
        deliveries = [
            {"id": str(item.id), "email": str(item.email_id), "to": item.to, "last": msgspec.to_builtins(item.last)}
            for item in parcel.deliveries
        ]
        return shown | {"subject": parcel.content.subject, "to": deliveries}


async def depth(connection: aio_pika.abc.AbstractConnection, place: Shelf) -> int:
    """How many dead letters are there, and in nobody's hands.

    Raises:
        AMQPError: it cannot be known.
    """
    channel = await connection.channel()
    queue = await channel.get_queue(place.queue, ensure=True)
    await channel.close()
    return queue.declaration_result.message_count or 0


@asynccontextmanager
async def taken(
    connection: aio_pika.abc.AbstractConnection, place: Shelf, limit: int
) -> AsyncIterator[list[DeadLetter]]:
    """The dead letters, oldest first, ``limit`` of them at most; those that are not acked go back in their order.

    The broker puts them back a moment after this has ended, and behind what was not taken: so take them all, unless
    they are very many.

    Raises:
        NoShelf: no such queue.
    """
    channel = await connection.channel()
    try:
        queue = await channel.get_queue(place.queue, ensure=True)
        wanted = min(limit, queue.declaration_result.message_count or 0)
        letters = [
            _letter(place, number, message) for number, message in enumerate(await _take(channel, queue, wanted), 1)
        ]
        yield letters
    except ChannelNotFoundEntity as error:
        raise NoShelf(f"there is no queue {place.queue}; run: mailwarren topology apply") from error
    except ChannelAccessRefused as error:
        raise NoShelf(f"a service's account may not touch {place.queue}: connect as the administrator") from error
    finally:
        await channel.close()


async def _take(
    channel: aio_pika.abc.AbstractChannel, queue: aio_pika.abc.AbstractQueue, wanted: int
) -> list[aio_pika.abc.AbstractIncomingMessage]:
    """So many messages, or those that come: somebody else may have taken some.

    By one consumer: what it holds goes back in order, and what basic.get has taken in any.
    """
    found: list[aio_pika.abc.AbstractIncomingMessage] = []
    if not wanted:
        return found
    arrived: asyncio.Queue[aio_pika.abc.AbstractIncomingMessage] = asyncio.Queue()
    await channel.set_qos(prefetch_count=min(wanted, MOST_IN_HAND))
    tag = await queue.consume(arrived.put)
    with contextlib.suppress(TimeoutError):
        while len(found) < min(wanted, MOST_IN_HAND):
            async with asyncio.timeout(LULL):
                found.append(await arrived.get())
    await queue.cancel(tag)
    return found


async def replay(publish: Publish, letters: Sequence[DeadLetter]) -> None:
    """Publish dead letters where they came from; each is acked when the broker has it again.

    Raises:
        NotReplayed: one could not be replayed; it and those after it are still there.
    """
    for done, letter in enumerate(letters):
        await _replay(publish, letter, done)


def numbered(letters: Sequence[DeadLetter], number: int) -> DeadLetter:
    """The letter of a number in the list.

    Raises:
        NoLetter: there is none.
    """
    if not 1 <= number <= len(letters):
        raise NoLetter(f"there is no dead letter {number}; there are {len(letters)}")
    return letters[number - 1]


async def _replay(publish: Publish, letter: DeadLetter, done: int) -> None:
    if letter.exchange is None or letter.key is None:
        raise NotReplayed(f"number {letter.number} does not say where it came from", done)
    parcel, body = letter.parcel, letter.message.body
    if parcel is not None:
        body = encode_parcel(msgspec.structs.replace(parcel, settle=True, turn=parcel.turn + 1))
    # x-death must not be copied: the broker would take the second death for a cycle and drop the message.
    headers = {name: value for name, value in letter.message.headers.items() if _is_original(name)}
    try:
        await publish(letter.exchange, letter.key, body, headers)
    except PublishError as error:
        raise NotReplayed(f"number {letter.number} was not taken: {error}", done) from error
    await letter.message.ack()


def _is_original(header: str) -> bool:
    return header not in _OURS and not header.startswith(_OF_THE_BROKER)


def _letter(place: Shelf, number: int, message: aio_pika.abc.AbstractIncomingMessage) -> DeadLetter:
    if place.back_to is not None:
        return DeadLetter(number, message, "no queue for its key", place.queue, place.back_to, message.routing_key)
    headers = message.headers
    deaths = headers.get("x-death")
    # The latest death stands first.
    death: dict[str, Any] = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}
    keys = death.get("routing-keys") or [None]
    exchange, key = headers.get(EXCHANGE, death.get("exchange")), headers.get(KEY, keys[0])
    queue = str(headers.get(FROM, death.get("queue", "?")))
    if (exchange is None or key is None) and queue != "?":
        exchange, key = "", queue
    return DeadLetter(
        number=number,
        message=message,
        reason=str(headers.get(REASON, death.get("reason", "?"))),
        queue=queue,
        exchange=None if exchange is None else str(exchange),
        key=None if key is None else str(key),
    )
