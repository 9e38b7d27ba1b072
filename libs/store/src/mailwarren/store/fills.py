"""Rows that stand for others of a big table: made beside the running system for those that were there before.

A migration makes the table and a trigger, which sees to every row from then on. What is older is filled in after the
migrations, some thousand rows and a transaction at a time, with the place reached kept in ``schema_fills``. Cut short,
the next ``mailwarren migrate`` goes on there.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from mailwarren.store.beside import alone

if TYPE_CHECKING:
    from asyncpg import Connection, Record

BATCH = 5000
_START = UUID(int=0)

# As the trigger of migration 0023 does it. The lock keeps an email whose tags are written from being deleted meanwhile:
# its tags would stay without it.
_TAGS = """
INSERT INTO email_tags (tenant, name, value, created_at, email_id)
SELECT o.* FROM emails e CROSS JOIN LATERAL (
  SELECT DISTINCT e.tenant, t.tag ->> 'name', coalesce(t.tag ->> 'value', ''), e.created_at, e.id
  FROM jsonb_array_elements(e.tags) AS t(tag)
  WHERE t.tag ->> 'name' IS NOT NULL
    AND octet_length(t.tag ->> 'name') + octet_length(coalesce(t.tag ->> 'value', '')) < 2000
) AS o
WHERE e.id > $1 AND e.id <= $2 AND jsonb_typeof(e.tags) = 'array' AND e.tags <> '[]'::jsonb
FOR KEY SHARE OF e
ON CONFLICT DO NOTHING
"""
_IDS = "SELECT id FROM {} WHERE id > $1 ORDER BY id LIMIT $2"

FILLS: Mapping[str, tuple[str, str]] = {"email_tags": ("emails", _TAGS)}
"""For each table that is filled: the one that its rows come from, by its ids, and how."""


async def fill_tables(url: str, within: float, *, batch: int = BATCH) -> list[str]:
    """Fill those that are not filled yet; their names. Any number of processes may call it at once.

    Args:
        url: of the database, as its owner.
        within: seconds for each statement.
        batch: rows of a transaction.

    Raises:
        Exception: one of :data:`.engine.AWAY`, or of Postgres. What was filled until then stays.
    """
    async with alone(url, within) as connection:
        places = await connection.fetch("SELECT name, after FROM schema_fills WHERE ended_at IS NULL ORDER BY name")
        return [row["name"] for row in places if await _fill(connection, row["name"], row["after"] or _START, batch)]


async def _fill(connection: "Connection[Record]", name: str, after: UUID, batch: int) -> bool:
    """False of one that only a newer version knows."""
    if name not in FILLS:
        return False
    source, statement = FILLS[name]
    while ids := await connection.fetch(_IDS.format(source), after, batch):
        last = ids[-1]["id"]
        async with connection.transaction():
            await connection.execute(statement, after, last)
            await connection.execute("UPDATE schema_fills SET after = $2 WHERE name = $1", name, last)
        after = last
    await connection.execute("UPDATE schema_fills SET ended_at = clock_timestamp() WHERE name = $1", name)
    return True
