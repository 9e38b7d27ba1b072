"""``broadcasts`` as workers and the scheduler work them off (ADR 0030).

An order's id is the owner of what it works on, so that a worker that gets the order of a dead one goes on at once.
Who owns it is written with a lease; that two go on from the same cursor is excluded by comparing the cursor.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import msgspec

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.order import Order, Work
from mailwarren.ingest.adapters.contacts import Audience
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.domain.broadcast_mail import BroadcastMail, read_mail
from mailwarren.store.states import BroadcastState

LEASE = timedelta(seconds=10)
"""Renewed with every batch, and while one waits."""
ORDER_AGAIN = timedelta(seconds=60)
"""After which an order that no worker has taken is given once more."""
AT_ONCE = 20
TEXT = 500

_TAKE = """
UPDATE broadcasts SET state = 'sending', owner = $2, lease_until = now() + $3::interval,
  started_at = coalesce(started_at, now())
WHERE id = $1 AND state IN ('queued', 'sending') AND mail IS NOT NULL
  AND (owner IS NULL OR owner = $2 OR lease_until < now())
RETURNING id, tenant, segment, topic, lane, mail, cursor, upto, published, audience, due_at, resend_of, resend_states
"""
_BEGIN = """
UPDATE broadcasts SET upto = $4, lease_until = now() + $5::interval, trouble = NULL
WHERE id = $1 AND owner = $2 AND cursor IS NOT DISTINCT FROM $3 AND state = 'sending' RETURNING state
"""
_PUBLISHED = """
UPDATE broadcasts SET cursor = $4, upto = $5, published = published + $6, lease_until = now() + $7::interval
WHERE id = $1 AND owner = $2 AND cursor IS NOT DISTINCT FROM $3 RETURNING state
"""
_KEEP = """
UPDATE broadcasts SET lease_until = now() + $3::interval, trouble = $4 WHERE id = $1 AND owner = $2 RETURNING state
"""
_LEAVE = """
UPDATE broadcasts SET owner = NULL, lease_until = NULL, order_at = CASE WHEN state IN ('queued', 'sending')
  THEN now() + $3::interval END, trouble = CASE WHEN state = 'sending' THEN $4 END
WHERE id = $1 AND owner = $2
"""
_FINISH = """
UPDATE broadcasts SET state = 'sent', ended_at = now(), owner = NULL, lease_until = NULL, order_at = NULL, upto = NULL,
  trouble = NULL
WHERE id = $1 AND owner = $2 AND cursor IS NOT DISTINCT FROM $3 AND state = 'sending' RETURNING state
"""
_GIVE_UP = """
UPDATE broadcasts SET state = 'failed', owner = NULL, lease_until = NULL, order_at = NULL, trouble = $2
WHERE id = $1 AND state IN ('queued', 'sending')
"""
_AUDIENCE = "UPDATE broadcasts SET audience = $2 WHERE id = $1 AND audience IS NULL"
_ENDED_SO = """
SELECT email_id FROM deliveries WHERE email_id = ANY($1::uuid[]) AND tenant = $2 AND state = ANY($3::text[])
"""
_HOLD = """
UPDATE broadcasts SET state = 'held', order_at = NULL, trouble = 'found long after its time'
WHERE state = 'scheduled' AND order_at <= now() AND due_at < now() - $1::interval RETURNING id
"""
_DUE = """
SELECT id, orders, due_at, extract(epoch FROM now() - due_at)::float8 AS late FROM broadcasts
WHERE state IN ('scheduled', 'queued', 'sending') AND order_at <= now() AND (owner IS NULL OR lease_until < now())
ORDER BY order_at LIMIT $1 FOR UPDATE SKIP LOCKED
"""
_ORDERED = """
UPDATE broadcasts SET state = CASE state WHEN 'scheduled' THEN 'queued' ELSE state END, orders = orders + 1,
  order_at = now() + $2::interval
WHERE id = ANY($1::uuid[])
"""
_UNTOLD = "SELECT id, tenant FROM broadcasts WHERE state = 'canceled' AND told_at IS NULL ORDER BY ended_at LIMIT $1"
_TOLD = "UPDATE broadcasts SET told_at = now() WHERE id = $1"
_STATES = """
SELECT state, count(*) AS count, CASE WHEN state = 'queued'
  THEN greatest(0, extract(epoch FROM now() - min(greatest(due_at, updated_at))))::float8 END AS waited
FROM broadcasts WHERE state IN ('scheduled', 'held', 'queued', 'sending', 'paused', 'failed') GROUP BY state
"""


@dataclass(frozen=True, slots=True)
class Broadcast:
    """What a worker has in hand, under the name of its order."""

    id: UUID
    owner: UUID
    tenant: UUID
    segment: UUID
    topic: UUID | None
    lane: Lane
    mail: BroadcastMail
    cursor: UUID | None
    upto: UUID | None
    counted: bool
    due_at: datetime
    resend_of: UUID | None
    resend_states: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Due:
    """A broadcast that a worker is to be given: its order, and how many seconds after its time that is."""

    order: Order
    late: float


def order_of(broadcast: UUID, number: int, due_at: float) -> Order:
    """The ``number``-th order for a broadcast, the same for everyone who makes it."""
    ident = UUID(str(broadcast))
    return Order(id=uuid5(ident, str(number)), work=Work.BROADCAST, due_at=due_at, subject=ident)


class Expansions:
    """Every method may raise ``DatabaseDown``.

    Args:
        database: where the rows are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, ident: UUID, owner: UUID) -> Broadcast | None:
        """The broadcast, for this owner until its lease runs out; None when it is not to be worked on, or in hand."""
        row = await self._database.fetchrow(_TAKE, ident, owner, LEASE)
        if row is None:
            return None
        return Broadcast(
            id=UUID(str(row["id"])),
            owner=owner,
            tenant=UUID(str(row["tenant"])),
            segment=row["segment"],
            topic=_uuid(row["topic"]),
            lane=Lane(row["lane"]),
            mail=read_mail(row["mail"]),
            cursor=_uuid(row["cursor"]),
            upto=_uuid(row["upto"]),
            counted=row["audience"] is not None,
            due_at=row["due_at"],
            resend_of=_uuid(row["resend_of"]),
            resend_states=tuple(row["resend_states"] or ()),
        )

    async def begin(self, broadcast: Broadcast, cursor: UUID | None, upto: UUID) -> bool:
        """Note how far the next publishes go; false when they must not be made: it was paused, say, or is another's."""
        return bool(await self._database.fetch(_BEGIN, broadcast.id, broadcast.owner, cursor, upto, LEASE))

    async def published(
        self, broadcast: Broadcast, cursor: UUID | None, upto: UUID, following: UUID | None, recipients: int
    ) -> BroadcastState | None:
        """A batch is in the broker, and ``following`` is as far as the next one goes: what the broadcast is by now.

        None when it is another's.
        """
        values = (broadcast.id, broadcast.owner, cursor, upto, following, recipients, LEASE)
        return _state(await self._database.fetchrow(_PUBLISHED, *values))

    async def keep(self, broadcast: Broadcast, trouble: str | None) -> BroadcastState | None:
        """Nothing goes on for now: what the broadcast is by now; None when it is another's."""
        values = (broadcast.id, broadcast.owner, LEASE, trouble and trouble[:TEXT])
        return _state(await self._database.fetchrow(_KEEP, *values))

    async def leave(self, broadcast: Broadcast, pause: float = 0.0, trouble: str | None = None) -> None:
        """Another worker goes on with it after ``pause`` seconds, if it is to go on."""
        values = (broadcast.id, broadcast.owner, timedelta(seconds=pause), trouble and trouble[:TEXT])
        await self._database.fetch(_LEAVE, *values)

    async def finish(self, broadcast: Broadcast, cursor: UUID | None) -> bool:
        """Everything is published; false when it was paused or canceled in the last moment, or is another's."""
        return bool(await self._database.fetch(_FINISH, broadcast.id, broadcast.owner, cursor))

    async def give_up(self, ident: UUID, trouble: str) -> None:
        """No worker could do it."""
        await self._database.fetch(_GIVE_UP, ident, trouble[:TEXT])

    async def counted(self, ident: UUID, audience: Audience) -> None:
        """How many its segment has, the first time."""
        await self._database.fetch(_AUDIENCE, ident, msgspec.json.encode(audience).decode())

    async def ended_so(self, tenant: UUID, emails: Sequence[UUID], states: Sequence[str]) -> set[UUID]:
        """Those of the emails whose delivery ended in one of the states."""
        rows = await self._database.fetch(_ENDED_SO, list(emails), tenant, list(states))
        return {UUID(str(row["email_id"])) for row in rows}

    async def hold(self, overdue: timedelta) -> list[UUID]:
        """Set those aside that were found too late."""
        return [row["id"] for row in await self._database.fetch(_HOLD, overdue)]

    @asynccontextmanager
    async def due(self) -> AsyncIterator[list[Due]]:
        """Broadcasts that need a worker; noted as ordered when the block ends well."""
        async with self._database.connection() as connection, connection.transaction():
            rows = await connection.fetch(_DUE, AT_ONCE)
            yield [Due(order_of(row["id"], row["orders"] + 1, row["due_at"].timestamp()), row["late"]) for row in rows]
            if rows:
                await connection.execute(_ORDERED, [row["id"] for row in rows], ORDER_AGAIN)

    async def untold(self) -> list[tuple[UUID, UUID]]:
        """Canceled broadcasts, with their tenants, of which the senders may not know."""
        return [(row["id"], row["tenant"]) for row in await self._database.fetch(_UNTOLD, AT_ONCE)]

    async def told(self, ident: UUID) -> None:
        """They know of it."""
        await self._database.fetch(_TOLD, ident)

    async def states(self) -> tuple[dict[str, int], float]:
        """How many are in each state on the way, and for how many seconds the first has waited for a worker."""
        rows = await self._database.fetch(_STATES)
        return {row["state"]: row["count"] for row in rows}, max((row["waited"] or 0.0 for row in rows), default=0.0)


def _uuid(value: UUID | None) -> UUID | None:
    # The standard library's: asyncpg's own does not order among others.
    return value and UUID(str(value))


def _state(row: Any) -> BroadcastState | None:
    return None if row is None else BroadcastState(row["state"])
