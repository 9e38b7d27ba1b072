"""``mailwarren dead``: the parked messages in ``mail.dead``: look at them, send them back where they came from.

With ``--unrouted`` those of ``mail.unrouted``: mail that came off the ladder with a key that no send queue has. With
``--ops`` those of ``ops.dead``: orders that no worker could carry out.

A look takes the messages and gives them back by closing the connection; their order stays. A replayed parcel is
marked to be settled and counts as a change of custody: it may have been tried before it was parked, so a sender asks
the tracker what became of its deliveries before it sends anything.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aio_pika
import msgspec
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity
from aiormq.exceptions import ChannelAccessRefused

from mailwarren.contracts.codec import NewerVersion, Undecodable, decode_parcel, encode_parcel, is_parcel
from mailwarren.contracts.parcel import Parcel
from mailwarren.contracts.topology import Topology
from mailwarren.ingest.commands import Failed
from mailwarren.runtime.amqp import Link, Publisher, PublishError

REASON, FROM, EXCHANGE, KEY = "mw-reason", "mw-from", "mw-exchange", "mw-key"
_OURS = (REASON, FROM, EXCHANGE, KEY)
_OF_THE_BROKER = ("x-death", "x-first-death", "x-last-death", "x-delivery", "x-acquired")
CONNECT_WITHIN = 10.0


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


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One parked message. ``exchange`` and ``key`` are where it would be replayed to, None when nobody knows."""

    number: int
    message: aio_pika.abc.AbstractIncomingMessage
    reason: str
    queue: str
    exchange: str | None
    key: str | None

    @property
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


async def list_dead(url: str, place: Shelf, limit: int) -> list[dict[str, Any]]:
    """The first ``limit`` dead letters, oldest first.

    Raises:
        Failed: no broker, or no such queue.
    """
    async with _taken(url, place, limit) as letters:
        return [letter.summary() for letter in letters]


async def show_dead(url: str, place: Shelf, number: int) -> dict[str, Any]:
    """One dead letter.

    Raises:
        Failed: there is none of that number.
    """
    async with _taken(url, place, number) as letters:
        return _numbered(letters, number).details()


async def replay_dead(url: str, place: Shelf, numbers: Sequence[int] | None) -> str:
    """Publish dead letters where they came from (all of them for None); each is acked when the broker has it again.

    Raises:
        Failed: one could not be replayed; it and those after it are still there.
    """
    async with _taken(url, place, max(numbers) if numbers else None) as letters:
        chosen = letters if numbers is None else [_numbered(letters, number) for number in sorted(set(numbers))]
        if not chosen:
            return "there are no dead letters"
        async with Link(url, "mailwarren-cli") as link:
            publisher = Publisher(link)
            await _up(link)
            for done, letter in enumerate(chosen):
                await _replay(publisher, letter, done)
    return f"replayed {len(chosen)}"


async def purge_dead(url: str, place: Shelf) -> str:
    """Delete all dead letters.

    Raises:
        Failed: no broker, or no such queue.
    """
    async with _queue(url, place) as queue:
        deleted = await queue.purge()
    return f"deleted {deleted.message_count}"


async def _replay(publisher: Publisher, letter: DeadLetter, done: int) -> None:
    if letter.exchange is None or letter.key is None:
        raise Failed(f"number {letter.number} does not say where it came from ({done} replayed before it)")
    parcel, body = letter.parcel, letter.message.body
    if parcel is not None:
        body = encode_parcel(msgspec.structs.replace(parcel, settle=True, turn=parcel.turn + 1))
    # x-death must not be copied: the broker would take the second death for a cycle and drop the message.
    headers = {name: value for name, value in letter.message.headers.items() if _is_original(name)}
    try:
        await publisher.publish(letter.exchange, letter.key, body, headers)
    except PublishError as error:
        raise Failed(f"number {letter.number} was not taken: {error} ({done} replayed before it)") from error
    await letter.message.ack()


def _is_original(header: str) -> bool:
    return header not in _OURS and not header.startswith(_OF_THE_BROKER)


def _numbered(letters: Sequence[DeadLetter], number: int) -> DeadLetter:
    if not 1 <= number <= len(letters):
        raise Failed(f"there is no dead letter {number}; there are {len(letters)}")
    return letters[number - 1]


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


@asynccontextmanager
async def _taken(url: str, place: Shelf, limit: int | None) -> AsyncIterator[list[DeadLetter]]:
    async with _queue(url, place) as queue:
        letters: list[DeadLetter] = []
        while limit is None or len(letters) < limit:
            message = await queue.get(fail=False)
            if message is None:
                break
            letters.append(_letter(place, len(letters) + 1, message))
        yield letters


@asynccontextmanager
async def _queue(url: str, place: Shelf) -> AsyncIterator[aio_pika.abc.AbstractQueue]:
    try:
        connection = await aio_pika.connect(url, timeout=CONNECT_WITHIN)
    except (OSError, AMQPError, TimeoutError) as error:
        raise Failed(f"no broker: {error}") from error
    async with connection:
        channel = await connection.channel()
        try:
            yield await channel.get_queue(place.queue, ensure=True)
        except ChannelNotFoundEntity as error:
            raise Failed(f"there is no queue {place.queue}; run: mailwarren topology apply") from error
        except ChannelAccessRefused as error:
            raise Failed(f"a service's account may not touch {place.queue}: connect as the administrator") from error


async def _up(link: Link) -> None:
    try:
        async with asyncio.timeout(CONNECT_WITHIN):
            await link.wait_up()
    except TimeoutError as error:
        raise Failed("no second connection to the broker") from error
