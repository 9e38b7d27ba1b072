"""Which trouble with Postgres means "not now"."""

import asyncpg
import pytest

from mailwarren.ingest.adapters.database import Database, DatabaseDown


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (asyncpg.ReadOnlySQLTransactionError("a standby after a failover"), True),
        (asyncpg.InvalidPasswordError("rotated"), True),
        (asyncpg.InvalidCatalogNameError("not restored yet"), True),
        (asyncpg.AdminShutdownError("restart"), True),
        (asyncpg.UndefinedTableError("not migrated"), True),
        (asyncpg.InternalClientError("a session that ended while idle"), True),
        (ConnectionRefusedError(), True),
        (asyncpg.UniqueViolationError("ours"), False),
        (asyncpg.SyntaxOrAccessError("ours"), False),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_away_or_a_bug_of_ours(error: Exception, away: bool) -> None:
    database = Database("postgresql://u:p@127.0.0.1:1/d", 1)

    class Pool:
        def acquire(self, **_: object) -> "Pool":
            return self

        async def __aenter__(self) -> None:
            raise error

        async def __aexit__(self, *_: object) -> None:
            """Nothing to give back."""

    database._pool = Pool()
    with pytest.raises(DatabaseDown if away else type(error)):
        await database.fetch("SELECT 1")
