"""Indexes on tables that may have millions of rows: made beside the running system, without keeping anybody waiting.

A migration runs in a transaction, in which Postgres makes an index under a lock that stops all writes. These are made
after it with ``CREATE INDEX CONCURRENTLY``. Until one is there, what reads with it is slow and right. One that was cut
short is invalid: it is dropped and made anew by the next ``mailwarren migrate``.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mailwarren.store.beside import alone

if TYPE_CHECKING:
    from asyncpg import Connection, Record

LATER: Mapping[str, str] = {
    "ix_deliveries_address": "deliveries (tenant, lower(address), accepted_at, email_id)",
    "ix_deliveries_state": "deliveries (tenant, state, accepted_at, email_id)",
    "ix_emails_content": "emails (content) WHERE variables IS NULL",
}
"""What they are on, by their names; :mod:`mailwarren.store.tables` has the same."""

_THERE = """
SELECT c.relname AS name, i.indisvalid AS valid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relname = ANY($1::text[])
"""


async def make_indexes(url: str, within: float) -> list[str]:
    """Make those that are not there; their names. Any number of processes may call it at once.

    Args:
        url: of the database, as its owner.
        within: seconds for each.

    Raises:
        Exception: one of :data:`.engine.AWAY`, or of Postgres. What was made until then stays.
    """
    async with alone(url, within) as connection:
        return await _make(connection)


async def _make(connection: "Connection[Record]") -> list[str]:
    there = {row["name"]: row["valid"] for row in await connection.fetch(_THERE, list(LATER))}
    made = []
    for name, columns in LATER.items():
        if there.get(name):
            continue
        if name in there:
            await connection.execute(f"DROP INDEX CONCURRENTLY {name}")
        await connection.execute(f"CREATE INDEX CONCURRENTLY {name} ON {columns}")
        made.append(name)
    return made
