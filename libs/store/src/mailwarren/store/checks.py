"""Checks that a migration adds to tables with rows: proved for those rows beside the running system.

To look at every row of a big table under the lock of a migration would keep everybody waiting, so it adds a check as
``NOT VALID``: from then on no row is written that breaks it. That the older rows keep it too is looked at after the
migrations, while everybody reads and writes. Cut short, the next ``mailwarren migrate`` goes on.
"""

from typing import TYPE_CHECKING

import asyncpg

from mailwarren.store.beside import alone

if TYPE_CHECKING:
    from asyncpg import Connection, Record

# Partitions before their table, which then has nothing to look at: a lock on all of them would last as long as on one.
_OPEN = """
SELECT format('ALTER TABLE %I VALIDATE CONSTRAINT %I', t.relname, c.conname) AS statement
FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE n.nspname = current_schema() AND c.contype = 'c' AND NOT c.convalidated
ORDER BY t.relkind = 'p', t.relname, c.conname
"""


async def validate_checks(url: str, within: float) -> int:
    """Validate those that are not; how many were. Any number of processes may call it at once.

    Args:
        url: of the database, as its owner.
        within: seconds for each.

    Raises:
        Exception: one of :data:`.engine.AWAY`, or of Postgres: a row breaks the check. What was validated stays so.
    """
    async with alone(url, within) as connection:
        return await _validate(connection)


async def _validate(connection: "Connection[Record]") -> int:
    done = 0
    for row in await connection.fetch(_OPEN):
        try:
            await connection.execute(row["statement"])
        except asyncpg.UndefinedTableError:
            # A day that the tracker has dropped meanwhile.
            continue
        done += 1
    return done
