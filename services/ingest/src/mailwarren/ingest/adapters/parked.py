"""Dead letters as the API works with them: over its own connection, one caller at a time.

Who looks at a queue of dead letters has them all for a moment, and another would find it empty.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import aio_pika

from mailwarren.contracts.topology import Topology
from mailwarren.ingest.adapters import dead
from mailwarren.ingest.domain.refusal import invalid, not_found, unavailable
from mailwarren.runtime.amqp import Link, Publisher, PublishError, is_lost

WITHIN = 20.0
"""Seconds for one look."""
BACK_WITHIN = 2.0
"""Seconds for the broker to have back what was only looked at."""
DEEP = 2_000
"""Dead letters taken in one look: the oldest, of which all can be listed and shown."""
AT_ONCE = 500
"""Dead letters replayed in one call."""


class NotOurs(PublishError):
    """The API's account may not publish there."""


class Parked:
    """Looks at dead letters and sends them back."""

    def __init__(self, link: Link, publisher: Publisher, topology: Topology) -> None:
        self._link = link
        self._publisher = publisher
        self._topology = topology
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._turn = asyncio.Lock()
        # A refused publish would take the channel of all others with it.
        self._ours = {
            exchange.name
            for exchange in (
                topology.accept, topology.send, topology.events, topology.control_log,
                topology.ops_tasks, topology.ops_retry,
            )
        }  # fmt: skip
        link.on_up(self._renew)

    async def _renew(self, connection: aio_pika.abc.AbstractConnection) -> None:
        self._connection = connection

    async def list(self, kind: str, limit: int) -> list[dict[str, Any]]:
        """The oldest of them.

        Raises:
            Refusal: 503.
        """
        async with self._taken(kind) as (letters, _):
            return [letter.summary() for letter in letters[:limit]]

    async def show(self, kind: str, ident: UUID) -> dict[str, Any]:
        """One of them with its headers and recipients.

        Raises:
            Refusal: 404, 503.
        """
        async with self._taken(kind) as (letters, _):
            return _found(letters, [ident])[0].details()

    async def replay(self, kind: str, idents: Collection[UUID] | None) -> tuple[int, int]:
        """Send some of them back (the oldest for None); how many that were, and how many are left.

        Raises:
            Refusal: 404, 422 when one cannot be sent back, 503.
        """
        async with self._taken(kind) as (letters, total):
            chosen = letters[:AT_ONCE] if idents is None else _found(letters, idents)
            try:
                await dead.replay(self._publish, chosen)
            except dead.NotReplayed as error:
                raise invalid(f"A dead letter cannot be replayed: {error}.") from error
        return len(chosen), max(total, len(letters)) - len(chosen)

    async def _publish(self, exchange: str, key: str, body: bytes, headers: dict[str, Any]) -> None:
        if exchange not in self._ours:
            raise NotOurs(
                f"only an administrator may publish to {exchange or 'the default exchange'}; run: mailwarren dead "
                "--broker replay"
            )
        await self._publisher.publish(exchange, key, body, headers)

    @asynccontextmanager
    async def _taken(self, kind: str) -> AsyncIterator[tuple[Sequence[dead.DeadLetter], int]]:
        """Dead letters, and how many there are with those that were not taken."""
        place, connection = self._shelf(kind), self._connected()
        try:
            async with self._turn, asyncio.timeout(WITHIN):
                total = await dead.depth(connection, place)
                async with dead.taken(connection, place, DEEP) as letters:
                    yield letters, total
                acked = sum(letter.message.processed for letter in letters)
                await self._put_back(connection, place, max(total, len(letters)) - acked)
        except Exception as error:
            if not (isinstance(error, dead.NoShelf) or is_lost(error)):
                raise
            raise unavailable("The broker cannot be asked for dead letters right now.") from error

    async def _put_back(self, connection: aio_pika.abc.AbstractConnection, place: dead.Shelf, number: int) -> None:
        """Return when what was taken is in the queue again: the next who looks would miss it, and count otherwise."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BACK_WITHIN):
                pause = 0.0
                while number > await dead.depth(connection, place):
                    pause += 0.01
                    await asyncio.sleep(pause)

    def _connected(self) -> aio_pika.abc.AbstractConnection:
        if self._connection is None or not self._link.up:
            raise unavailable("The broker cannot be reached right now.")
        return self._connection

    def _shelf(self, kind: str) -> dead.Shelf:
        return dead.shelf(self._topology, unrouted=kind == "unrouted", ops=kind == "ops")


def _found(letters: Sequence[dead.DeadLetter], idents: Collection[UUID]) -> list[dead.DeadLetter]:
    by_id = {letter.id: letter for letter in reversed(letters)}
    for ident in idents:
        if ident not in by_id:
            raise not_found(f"There is no dead letter with the id {ident}.")
    return sorted({by_id[ident].number: by_id[ident] for ident in idents}.values(), key=lambda one: one.number)
