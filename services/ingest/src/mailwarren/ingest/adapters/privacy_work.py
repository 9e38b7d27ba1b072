"""Exports and erasures as scheduler and worker have them.

As with imports, the row of a request says which order may work on it (``order_id``) and which worker does (``holder``).
A worker does a batch only while it is the holder, in one transaction with how far it came: who takes over goes on
exactly there.
"""

import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4, uuid5

import msgspec

from mailwarren.contracts.order import Order, Work
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.erasing import STEPS, Place
from mailwarren.ingest.adapters.exporting import read_page
from mailwarren.ingest.domain.privacy import Whose, added, as_counts, stages
from mailwarren.store.states import PrivacyKind

LEASE = timedelta(seconds=90)
"""After a batch: a worker that is alive has done the next one long before."""
PATIENCE = timedelta(minutes=10)
"""After an order was given, or a try failed: an order that waits for a free worker or its next try comes before."""
_RUNS = UUID("6d77006f-7073-5072-8000-000000000003")

_DUE = """
SELECT r.tenant, r.id, r.due_at, r.issued, now() AS now FROM privacy_requests r
WHERE r.state IN ('queued', 'in_progress') AND r.due_at <= now()
ORDER BY r.due_at, r.id
LIMIT greatest(0, $1 - (SELECT count(*) FROM privacy_requests h
  WHERE h.state IN ('queued', 'in_progress') AND h.order_id IS NOT NULL AND h.due_at > now()))
FOR UPDATE OF r SKIP LOCKED
"""
_ISSUED = """
UPDATE privacy_requests SET order_id = $3, issued = issued + 1, due_at = now() + $4::interval
WHERE tenant = $1 AND id = $2
"""
_STATES = """
SELECT count(*) FILTER (WHERE state = 'queued') AS queued, count(*) FILTER (WHERE state = 'in_progress') AS in_progress,
  coalesce(max(greatest(0, extract(epoch FROM now() - due_at))), 0)::float8 AS late
FROM privacy_requests WHERE state IN ('queued', 'in_progress')
"""
# FOR UPDATE: an order may arrive before the scheduler that published it has committed, and then waits for it here.
_FIND = """
SELECT tenant, kind, address, stage, place, counts, parts, order_id FROM privacy_requests
WHERE id = $1 AND state IN ('queued', 'in_progress') FOR UPDATE
"""
_TAKE = """
UPDATE privacy_requests SET state = 'in_progress', holder = $3, due_at = now() + $4::interval
WHERE tenant = $1 AND id = $2
"""
_HELD = """
SELECT FROM privacy_requests WHERE tenant = $1 AND id = $2 AND holder = $3 AND state = 'in_progress' FOR UPDATE
"""
_PART = "INSERT INTO privacy_parts (tenant, request, number, kind, data) VALUES ($1, $2, $3, $4, $5)"
# An erased address is known by its hash alone from here on.
_DONE = """
UPDATE privacy_requests SET stage = $3, place = $4::jsonb, counts = $5::jsonb, parts = $6, size = size + $7,
  due_at = now() + $8::interval, updated_at = now(),
  state = CASE WHEN $9 THEN 'completed' ELSE state END, ended_at = CASE WHEN $9 THEN now() END,
  address = CASE WHEN $9 AND kind = 'erasure' THEN NULL ELSE address END
WHERE tenant = $1 AND id = $2
"""
_FAILED = """
UPDATE privacy_requests SET state = 'failed', error = $3, ended_at = now(), updated_at = now(), holder = NULL
WHERE id = $1 AND state IN ('queued', 'in_progress') AND $2 IN (order_id, holder)
"""
_LEFT = """
UPDATE privacy_requests SET due_at = now() + $4::interval, holder = NULL, order_id = NULL
WHERE tenant = $1 AND id = $2 AND holder = $3
"""
_POSTPONED = """
UPDATE privacy_requests SET due_at = now() + $4::interval, holder = NULL WHERE tenant = $1 AND id = $2 AND holder = $3
"""


@dataclass(frozen=True, slots=True)
class DueRequest:
    """A request to give to a worker: its order, and how many seconds late it is."""

    order: Order
    late: float


class RequestStates(NamedTuple):
    """How many wait and are worked on; seconds since one was due that nobody works on."""

    queued: int
    in_progress: int
    late: float


@dataclass(frozen=True, slots=True)
class Job:
    """A request that this worker holds, and where it goes on."""

    whose: Whose
    kind: PrivacyKind
    holder: UUID
    stage: int
    place: Place | None
    counts: dict[str, int]
    parts: int

    @property
    def ended(self) -> bool:
        """Whether all of its stages are done."""
        return self.stage == len(stages(self.kind))


class NotHeld(Exception):
    """The request was deleted, or another worker has it: nothing was done."""


class PrivacyWork:
    """Every method may raise ``DatabaseDown``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def due(self, at_once: int) -> AsyncIterator[list[DueRequest]]:
        """Requests that nobody works on, while fewer than ``at_once`` are; released when the block ends well."""
        async with self._database.connection() as connection, connection.transaction():
            rows = await connection.fetch(_DUE, at_once)
            found = [_due(row) for row in rows]
            yield found
            for row, due in zip(rows, found, strict=True):
                await connection.execute(_ISSUED, row["tenant"], row["id"], due.order.id, PATIENCE)

    async def states(self) -> RequestStates:
        """How it stands with all that have not ended."""
        return RequestStates(*await self._database.fetchrow(_STATES))

    async def take(self, order: Order) -> Job | None:
        """The order's request, held by the caller from now on; None when the order is not the one that may have it."""
        async with self._database.connection() as connection, connection.transaction():
            row = await connection.fetchrow(_FIND, order.subject)
            if row is None or row["order_id"] is None or UUID(str(row["order_id"])) != order.id:
                return None
            holder, tenant = uuid4(), UUID(str(row["tenant"]))
            await connection.execute(_TAKE, tenant, order.subject, holder, LEASE)
        return Job(
            whose=Whose(tenant, UUID(str(order.subject)), row["address"]),
            kind=PrivacyKind(row["kind"]),
            holder=holder,
            stage=row["stage"],
            place=None if row["place"] is None else msgspec.json.decode(row["place"]),
            counts=as_counts(row["counts"]),
            parts=row["parts"],
        )

    async def step(self, job: Job) -> Job:
        """The next batch, and how far the request is then: all of it or nothing.

        Raises:
            NotHeld: see there.
            NotYet: see :mod:`.erasing`.
        """
        name = stages(job.kind)[job.stage]
        async with self._database.connection() as connection, connection.transaction():
            if await connection.fetchrow(_HELD, job.whose.tenant, job.whose.request, job.holder) is None:
                raise NotHeld
            size, parts = 0, job.parts
            if job.kind is PrivacyKind.EXPORT:
                found = await read_page(connection, job.whose, name, job.place)
                number, place = len(found.lines), found.place
                if found.lines:
                    data = zlib.compress(b"".join(line + b"\n" for line in found.lines))
                    await connection.execute(_PART, job.whose.tenant, job.whose.request, parts, name, data)
                    size, parts = len(data), parts + 1
            else:
                erased = await STEPS[name](connection, job.whose, job.place)
                number, place = erased.number, erased.place
            after = replace(
                job,
                stage=job.stage + (place is None),
                place=place,
                counts=added(job.counts, name, number),
                parts=parts,
            )
            await connection.execute(
                _DONE, job.whose.tenant, job.whose.request, after.stage,
                None if place is None else msgspec.json.encode(place).decode(),
                msgspec.json.encode(after.counts).decode(), parts, size, LEASE, after.ended,
            )  # fmt: skip
        return after

    async def fail(self, ident: UUID, by: UUID, why: str) -> None:
        """It cannot go on, says the order or the holder ``by``; nothing happens when it is another's by now."""
        await self._database.fetch(_FAILED, ident, by, why)

    async def leave(self, job: Job, due_in: timedelta) -> None:
        """The caller does not go on with it; the scheduler gives it to another after ``due_in``."""
        await self._database.fetch(_LEFT, job.whose.tenant, job.whose.request, job.holder, due_in)

    async def postpone(self, job: Job) -> None:
        """The caller's try failed, and its order comes again."""
        await self._database.fetch(_POSTPONED, job.whose.tenant, job.whose.request, job.holder, PATIENCE)


def _due(row: Any) -> DueRequest:
    ident = UUID(str(row["id"]))
    order = Order(
        id=uuid5(_RUNS, f"{ident}/{row['issued']}"),
        work=Work.PRIVACY,
        due_at=row["due_at"].timestamp(),
        subject=ident,
    )
    return DueRequest(order, (row["now"] - row["due_at"]).total_seconds())
