"""Imports of contacts as scheduler and worker have them.

The row of an import says which order may work on it (``order_id``) and which worker does (``holder``). A worker writes
a batch only while it is the holder, in one transaction with how far it came: who takes over goes on exactly there, and
who was taken over from writes nothing more.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4, uuid5

import msgspec

from mailwarren.contracts.order import Order, Work
from mailwarren.contracts.unsubscribe import LISTS
from mailwarren.contracts.webhooks import EventType
from mailwarren.ingest.adapters.contacts import Contacts, Upserted
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.properties import Properties
from mailwarren.ingest.adapters.segments import Segments
from mailwarren.ingest.adapters.topics import Topics
from mailwarren.ingest.adapters.webhook_notices import WebhookNotices
from mailwarren.ingest.domain.imports.request import OnConflict, Plan
from mailwarren.ingest.domain.imports.rows import Batch, fold
from mailwarren.ingest.domain.properties import Property
from mailwarren.ingest.domain.topics import Choice, Moved

LEASE = timedelta(seconds=60)
"""After a batch: a worker that is alive has written the next one long before."""
PATIENCE = timedelta(minutes=10)
"""After an order was given, or a try failed: an order that waits for a free worker or its next try comes before."""
MOST_TRIES = 20
"""Workers that took an import, one after the other, and wrote no batch of it."""
KEPT = 100_000
"""Failed rows of an import that are kept; beyond, they are counted only."""
_RUNS = UUID("6d77006f-7073-5072-8000-000000000002")

# The oldest of each tenant: its files are worked off one after the other, as they came.
_DUE = """
SELECT i.tenant, i.id, i.due_at, i.issued, now() AS now FROM contact_imports i
WHERE i.state IN ('queued', 'in_progress') AND i.due_at <= now()
  AND NOT EXISTS (SELECT FROM contact_imports o
    WHERE o.tenant = i.tenant AND o.id < i.id AND o.state IN ('queued', 'in_progress'))
ORDER BY i.due_at, i.id
LIMIT greatest(0, $1 - (SELECT count(*) FROM contact_imports h
  WHERE h.state IN ('queued', 'in_progress') AND h.order_id IS NOT NULL AND h.due_at > now()))
FOR UPDATE OF i SKIP LOCKED
"""
_ISSUED = """
UPDATE contact_imports SET order_id = $3, issued = issued + 1, due_at = now() + $4::interval
WHERE tenant = $1 AND id = $2
"""
_STATES = """
SELECT count(*) FILTER (WHERE state = 'queued') AS queued, count(*) FILTER (WHERE state = 'in_progress') AS in_progress,
  coalesce(max(still) FILTER (WHERE oldest), 0) AS still
FROM (
  SELECT state, greatest(0, extract(epoch FROM now() - updated_at))::float8 AS still,
    row_number() OVER (PARTITION BY tenant ORDER BY id) = 1 AS oldest
  FROM contact_imports WHERE state IN ('queued', 'in_progress')
) open
"""
# FOR UPDATE: an order may arrive before the scheduler that published it has committed, and then waits for it here.
_FIND = """
SELECT tenant, state, order_id, tries, plan, on_conflict, segments, choices, size, position, line,
  created, updated, skipped, failed
FROM contact_imports WHERE id = $1 AND state IN ('queued', 'in_progress') FOR UPDATE
"""
_TAKE = """
UPDATE contact_imports SET state = 'in_progress', holder = $3, tries = tries + 1, due_at = now() + $4::interval
WHERE tenant = $1 AND id = $2
"""
_HELD = """
SELECT FROM contact_imports
WHERE tenant = $1 AND id = $2 AND holder = $3 AND state = 'in_progress' AND position = $4 FOR UPDATE
"""
_WRITTEN = """
UPDATE contact_imports SET position = $3, line = $4, created = created + $5, updated = updated + $6,
  skipped = skipped + $7, failed = failed + $8, tries = 0, due_at = now() + $9::interval, updated_at = now(),
  state = CASE WHEN $10 THEN 'completed' ELSE state END, ended_at = CASE WHEN $10 THEN now() END
WHERE tenant = $1 AND id = $2
"""
_ERRORS = """
INSERT INTO contact_import_errors (tenant, import_id, number, line, cells, error)
SELECT $1, $2, number, line, cells, error
FROM unnest($3::bigint[], $4::bigint[], $5::jsonb[], $6::text[]) AS r(number, line, cells, error)
"""
_FAILED = """
UPDATE contact_imports SET state = 'failed', error = $3, ended_at = now(), updated_at = now(), holder = NULL
WHERE id = $1 AND state IN ('queued', 'in_progress') AND $2 IN (order_id, holder)
"""
_LEFT = "UPDATE contact_imports SET due_at = now() + $4::interval WHERE tenant = $1 AND id = $2 AND holder = $3"
_CHUNKS = """
SELECT starts, data FROM contact_import_chunks
WHERE tenant = $1 AND import_id = $2 AND starts >= (
  SELECT max(starts) FROM contact_import_chunks WHERE tenant = $1 AND import_id = $2 AND starts <= $3)
ORDER BY starts LIMIT $4
"""


@dataclass(frozen=True, slots=True)
class DueImport:
    """An import to give to a worker: its order, and how many seconds late it is."""

    order: Order
    late: float


class ImportStates(NamedTuple):
    """How many wait and are worked on; seconds since the one moved that has stood still longest."""

    queued: int
    in_progress: int
    still: float


@dataclass(frozen=True, slots=True)
class Job:
    """An import that this worker holds, and where it goes on."""

    tenant: UUID
    id: UUID
    holder: UUID
    plan: Plan
    on_conflict: OnConflict
    segments: tuple[UUID, ...]
    choices: tuple[Choice, ...]
    size: int
    position: int
    line: int
    rows: int
    """Read before."""
    failed: int


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch."""

    created: int
    updated: int
    skipped: int
    failed: int
    moved: Sequence[Moved]
    """Who has left lists with it, and who is back: the senders do not know yet."""


class NotHeld(Exception):
    """The import was canceled, or another worker has it: nothing was written."""


class PropertyGone(Exception):
    """A property that the import writes was deleted; the text is its key."""


class ImportWork:
    """Every method may raise ``DatabaseDown``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def due(self, at_once: int) -> AsyncIterator[list[DueImport]]:
        """Imports that nobody works on, while fewer than ``at_once`` are worked on; released when the block ends well.

        Of each tenant only the oldest.
        """
        async with self._database.connection() as connection, connection.transaction():
            rows = await connection.fetch(_DUE, at_once)
            found = [_due(row) for row in rows]
            yield found
            for row, due in zip(rows, found, strict=True):
                await connection.execute(_ISSUED, row["tenant"], row["id"], due.order.id, PATIENCE)

    async def states(self) -> ImportStates:
        """How it stands with all that have not ended."""
        return ImportStates(*await self._database.fetchrow(_STATES))

    async def take(self, order: Order) -> Job | None:
        """The order's import, held by the caller from now on; None when the order is not the one that may have it."""
        async with self._database.connection() as connection, connection.transaction():
            row = await connection.fetchrow(_FIND, order.subject)
            if row is None or row["order_id"] is None or UUID(str(row["order_id"])) != order.id:
                return None
            if row["tries"] >= MOST_TRIES:
                await connection.execute(_FAILED, order.subject, order.id, "No worker could go on with it; tell us.")
                return None
            holder, tenant = uuid4(), UUID(str(row["tenant"]))
            await connection.execute(_TAKE, tenant, order.subject, holder, LEASE)
        return _job(row, tenant, UUID(str(order.subject)), holder)

    async def declared(self, job: Job) -> list[Property]:
        """The tenant's properties."""
        return await Properties(self._database).declared(job.tenant)

    async def text(self, job: Job, position: int, chunks: int) -> tuple[int, bytes]:
        """A part of the file, from the piece on in which ``position`` lies; where that begins."""
        rows = await self._database.fetch(_CHUNKS, job.tenant, job.id, position, chunks)
        starts = ends = rows[0]["starts"] if rows else position
        pieces = []
        for row in rows:
            if row["starts"] != ends:
                break  # one is missing
            pieces.append(row["data"])
            ends += len(row["data"])
        return starts, b"".join(pieces)

    async def write(self, job: Job, batch: Batch, place: "Place", used: Sequence[Property]) -> Written:
        """A batch with all that follows from it, and how far the import is: all of it or nothing.

        Args:
            job: whose.
            batch: read from ``place.before`` on.
            place: from where to where.
            used: the properties that ``batch`` has values of.

        Raises:
            NotHeld: see there.
            PropertyGone: see there.
        """
        async with self._database.connection() as connection, connection.transaction():
            if await connection.fetchrow(_HELD, job.tenant, job.id, job.holder, place.before) is None:
                raise NotHeld
            if used:
                there = {item.id for item in await Properties(connection).declared(job.tenant)}
                for item in used:
                    if item.id not in there:
                        raise PropertyGone(item.key)
            rows = fold(batch.rows, keep_first=job.on_conflict == "skip")
            done = await Contacts(connection).upsert(job.tenant, rows, job.on_conflict) if rows else []
            contacts = [contact.id for contact in done]
            await Segments(connection).add(job.tenant, contacts, job.segments)
            moved = [_moved(done), *await Topics(connection).choose(job.tenant, contacts, job.choices)]
            if job.plan.webhooks:
                await _tell_webhooks(connection, job.tenant, done)
            written = _counted(job, batch, sum(contact.made for contact in done), moved)
            await self._keep_failures(connection, job, batch)
            await connection.execute(
                _WRITTEN, job.tenant, job.id, place.after, place.line, written.created, written.updated,
                written.skipped, written.failed, LEASE, place.ended,
            )  # fmt: skip
        return written

    async def _keep_failures(self, connection: Any, job: Job, batch: Batch) -> None:
        kept = batch.failures[: max(0, KEPT - job.failed)]
        if kept:
            await connection.execute(
                _ERRORS, job.tenant, job.id, [one.number for one in kept], [one.line for one in kept],
                [msgspec.json.encode(one.cells).decode() for one in kept], [one.error for one in kept],
            )  # fmt: skip

    async def fail(self, ident: UUID, by: UUID, why: str) -> None:
        """It cannot go on, says the order or the holder ``by``; nothing happens when it is another's by now."""
        await self._database.fetch(_FAILED, ident, by, why)

    async def leave(self, job: Job, due_in: timedelta) -> None:
        """The caller does not go on with it; the scheduler gives it to another after ``due_in``."""
        await self._database.fetch(_LEFT, job.tenant, job.id, job.holder, due_in)


@dataclass(frozen=True, slots=True)
class Place:
    """From where to where a batch goes, in octets; the line after it; whether it is the last."""

    before: int
    after: int
    line: int
    ended: bool


async def _tell_webhooks(connection: Any, tenant: UUID, done: Sequence[Upserted]) -> None:
    notices = WebhookNotices(connection)
    await notices.contacts(tenant, EventType.CONTACT_CREATED, [one.id for one in done if one.made])
    await notices.contacts(tenant, EventType.CONTACT_UPDATED, [one.id for one in done if not one.made])


def _moved(done: Sequence[Upserted]) -> Moved:
    return Moved(LISTS, [one.email_key for one in done if one.gone], [one.email_key for one in done if one.back])


def _counted(job: Job, batch: Batch, made: int, moved: Sequence[Moved]) -> Written:
    """Rows of one address are counted as if they had come one after the other."""
    rest = len(batch.rows) - made
    upsert = job.on_conflict == "upsert"
    return Written(made, rest if upsert else 0, 0 if upsert else rest, len(batch.failures), moved)


def _due(row: Any) -> DueImport:
    ident = UUID(str(row["id"]))
    order = Order(
        id=uuid5(_RUNS, f"{ident}/{row['issued']}"),
        work=Work.IMPORT,
        due_at=row["due_at"].timestamp(),
        subject=ident,
    )
    return DueImport(order, (row["now"] - row["due_at"]).total_seconds())


def _job(row: Any, tenant: UUID, ident: UUID, holder: UUID) -> Job:
    return Job(
        tenant=tenant,
        id=ident,
        holder=holder,
        plan=msgspec.json.decode(row["plan"], type=Plan),
        on_conflict=row["on_conflict"],
        segments=tuple(UUID(str(segment)) for segment in row["segments"]),
        choices=tuple(msgspec.json.decode(row["choices"], type=list[Choice])),
        size=row["size"],
        position=row["position"],
        line=row["line"],
        rows=row["created"] + row["updated"] + row["skipped"] + row["failed"],
        failed=row["failed"],
    )
