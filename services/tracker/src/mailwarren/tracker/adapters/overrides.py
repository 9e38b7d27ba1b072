"""Overrides of shaping: what the control log says, kept for people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mailwarren.contracts.shaping import Override, OverrideEnd
from mailwarren.tracker.adapters.rows import moment

if TYPE_CHECKING:
    from asyncpg import Connection, Record

_OVERRIDE = """
INSERT INTO shaping_overrides AS o (id, scope, name, since, until, suspend, connections, rate, cause, sample, lane)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (id) DO UPDATE SET
  scope = excluded.scope, name = excluded.name, lane = excluded.lane, suspend = o.suspend OR excluded.suspend,
  since = least(o.since, excluded.since), until = greatest(o.until, excluded.until),
  connections = least(o.connections, excluded.connections), rate = least(o.rate, excluded.rate),
  cause = excluded.cause, sample = CASE o.sample WHEN '' THEN excluded.sample ELSE o.sample END
"""
"""Senders that see one cause write one id, each with its own clock and reply: what holds is all of it together."""
_END = """
INSERT INTO shaping_overrides AS o (id, ended_at, ended_by) VALUES ($1, $2, $3)
ON CONFLICT (id) DO UPDATE SET
  ended_by = CASE WHEN o.ended_at <= excluded.ended_at THEN o.ended_by ELSE excluded.ended_by END,
  ended_at = least(o.ended_at, excluded.ended_at)
"""
"""An end may come here before its override: two trackers read the queue."""
FORGET = """
DELETE FROM shaping_overrides WHERE coalesce(until, ended_at) < now() - $1 * interval '1 day'
"""


async def write_overrides(connection: "Connection[Record]", entries: Sequence[Override | OverrideEnd]) -> None:
    """Write what began and what ended, inside of a transaction; a repetition changes nothing.

    Raises:
        Unstorable: a time that is none.
        asyncpg.PostgresError: the server refuses.
    """
    # In one order, for another tracker may be about to lock the same rows; an end stays behind its override.
    for entry in sorted(entries, key=lambda one: one.id):
        if isinstance(entry, OverrideEnd):
            await connection.execute(_END, entry.id, moment(entry.at), entry.by)
        else:
            await connection.execute(
                _OVERRIDE,
                entry.id,
                entry.scope.value,
                entry.name,
                moment(entry.since),
                moment(entry.until),
                entry.suspend,
                entry.connections,
                entry.rate,
                entry.cause,
                entry.sample,
                entry.lane,
            )
