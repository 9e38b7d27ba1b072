"""``scheduled`` as the scheduler works it off: rows are taken with a lease, and noted as released after the confirm.

A scheduler that dies in between leaves a lease that runs out. Whoever takes the row then publishes it again under the
same ids; every released parcel is settled before it is sent, so that the second is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from mailwarren.contracts.lanes import Lane
from mailwarren.ingest.adapters.database import Database

LEASE = timedelta(seconds=30)
"""Longer than all publishes of a batch can take: each has its confirm, or none, after 5 s."""
HOLD_AT_ONCE = 1_000

_HOLD = """
UPDATE scheduled s SET
  state = CASE WHEN known THEN 'released' ELSE 'held' END, owner = NULL, lease_until = NULL,
  ended_at = CASE WHEN known THEN now() END, held_at = CASE WHEN known THEN NULL ELSE now() END,
  history = CASE WHEN known THEN history ELSE
    history || jsonb_build_array(jsonb_build_object('at', now(), 'kind', 'held')) END
FROM (
  SELECT id, attempts > 0 AND EXISTS (SELECT FROM emails e WHERE e.id = d.id) AS known FROM scheduled d
  WHERE state = 'scheduled' AND lane = $1 AND due_at < now() - $2::interval
    AND (lease_until IS NULL OR lease_until <= now())
  ORDER BY due_at, base, position LIMIT $3 FOR UPDATE SKIP LOCKED
) late WHERE s.id = late.id
RETURNING s.id, s.state
"""
"""What the ledger knows already was published by a scheduler that died before it could note so."""
_TAKE = """
UPDATE scheduled s SET attempts = least(s.attempts + 1, 30000), owner = $4, lease_until = now() + $5::interval
FROM (
  SELECT id FROM scheduled
  WHERE state = 'scheduled' AND lane = $1 AND due_at <= now() AND due_at >= now() - $2::interval
    AND (lease_until IS NULL OR lease_until <= now())
  ORDER BY due_at, base, position LIMIT $3 FOR UPDATE SKIP LOCKED
) due WHERE s.id = due.id
RETURNING s.id, s.tenant, s.base, s.position, s.created_at, s.due_at, s.mail, s.content, s.size, s.attempts,
  extract(epoch FROM now() - s.due_at)::float8 AS late
"""
_BODIES = "SELECT id, body FROM scheduled_contents WHERE id = ANY($1::uuid[])"
_RELEASED = """
UPDATE scheduled SET state = 'released', ended_at = now(), owner = NULL, lease_until = NULL
WHERE id = ANY($1::uuid[]) AND owner = $2 AND state = 'scheduled'
"""
_PUT_BACK = """
UPDATE scheduled SET attempts = greatest(0, attempts - $3), owner = NULL, lease_until = now() + $4::interval
WHERE id = ANY($1::uuid[]) AND owner = $2 AND state = 'scheduled'
"""
# Each part out of an index alone: a million rows with their mail are gigabytes.
_STATES = """
WITH counted AS (
  SELECT (SELECT count(*) FROM scheduled WHERE state = 'scheduled') AS waiting,
    (SELECT count(*) FROM scheduled WHERE state IN ('scheduled', 'held')) AS open
), soonest AS (
  SELECT min(f.due_at) AS due_at FROM unnest($1::text[]) AS l (lane) CROSS JOIN LATERAL (
    SELECT min(s.due_at) AS due_at FROM scheduled s WHERE s.state = 'scheduled' AND s.lane = l.lane) f
)
SELECT waiting, open - waiting AS held, coalesce(extract(epoch FROM due_at), 0)::float8 AS next_due,
  greatest(0, extract(epoch FROM now() - due_at))::float8 AS late
FROM counted, soonest
"""


@dataclass(frozen=True, slots=True)
class ScheduleStates:
    """How many wait and are held; when the next is due (Unix seconds, 0: none) and how many seconds late it is."""

    waiting: int
    held: int
    next_due: float
    late: float


@dataclass(frozen=True, slots=True)
class Taken:
    """A row that this process is to release until its lease runs out."""

    id: UUID
    tenant: UUID
    base: UUID
    position: int
    created_at: datetime
    due_at: datetime
    mail: bytes
    content: UUID
    size: int
    attempts: int
    late: float


class Releases:
    """Every method may raise ``DatabaseDown``.

    Args:
        database: where the rows are.
        overdue: how long after its time a row is not released any more without a person.
    """

    def __init__(self, database: Database, overdue: timedelta) -> None:
        self._database = database
        self._overdue = overdue
        self._owner = uuid4()

    async def hold(self, lane: Lane) -> list[UUID]:
        """Set those aside that were found too late."""
        found: list[UUID] = []
        while True:
            rows = await self._database.fetch(_HOLD, lane, self._overdue, HOLD_AT_ONCE)
            found += [row["id"] for row in rows if row["state"] == "held"]
            if len(rows) < HOLD_AT_ONCE:
                return found

    async def take(self, lane: Lane, limit: int) -> list[Taken]:
        """Rows that are due and that nobody has in hand, in the order of their calls."""
        rows = await self._database.fetch(_TAKE, lane, self._overdue, limit, self._owner, LEASE)
        return sorted((Taken(**row) for row in rows), key=lambda row: (row.due_at, row.base, row.position))

    async def bodies(self, contents: Sequence[UUID]) -> dict[UUID, bytes]:
        """What rows share, by their ``content``."""
        return {row["id"]: row["body"] for row in await self._database.fetch(_BODIES, contents)}

    async def released(self, rows: Sequence[Taken]) -> None:
        """The broker has them."""
        await self._write(_RELEASED, rows)

    async def put_back(self, rows: Sequence[Taken], pause: float, *, untouched: bool) -> None:
        """They are due again after ``pause`` seconds; ``untouched`` when certainly nothing of them was published."""
        await self._write(_PUT_BACK, rows, int(untouched), timedelta(seconds=pause))

    async def states(self) -> ScheduleStates:
        """How it stands with all rows."""
        row = await self._database.fetchrow(_STATES, list(Lane))
        return ScheduleStates(row["waiting"], row["held"], row["next_due"], row["late"] or 0.0)

    async def _write(self, sql: str, rows: Sequence[Taken], *values: Any) -> None:
        if rows:
            await self._database.fetch(sql, [row.id for row in rows], self._owner, *values)
