"""Bring a database up to date, from any number of processes at once: one migrates, the others wait."""

from alembic import command
from sqlalchemy import Connection, text

from mailwarren.store.checks import validate_checks
from mailwarren.store.engine import driver_connect, driver_connection, make_engine
from mailwarren.store.fills import fill_tables
from mailwarren.store.history import judge, own_revisions, read, trouble
from mailwarren.store.indexes import make_indexes
from mailwarren.store.scripts import config

LOCK = 0x6D61696C77617272
"""Advisory lock key of migrations ("mailwarr")."""
TIMEOUT = 600.0
"""Seconds that a migration's statement, or the wait for another process's migration, may take."""
BESIDE_TIMEOUT = 4 * 3600.0
"""Seconds for an index on a big table, a look at all of its rows, or some of a fill: nobody waits for it."""


class Unserved(Exception):
    """The schema is newer than this version and does not serve it; nothing was changed."""


async def upgrade(url: str, revision: str = "head") -> str:
    """Run the missing migrations, all in one transaction; none when the schema is current, or newer and serves us.

    Then, without a lock that anybody waits for, make indexes, look whether older rows keep new checks, and fill tables
    that stand for older rows; cut short in that, the schema is up to date and the next call goes on.

    Returns:
        What is the case now, for a person.

    Raises:
        Unserved: the schema was made by a version that this one cannot follow.
        Exception: one of :data:`.engine.AWAY`, or what a migration ran into. Nothing is changed then.
    """
    engine = make_engine(url, pool_size=1, statement_timeout=TIMEOUT, application_name="mailwarren-migrate")
    own = own_revisions()
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            current, applied, serves = await read(await driver_connection(connection))
            if current is not None and current not in own:
                reason = judge(own, current, applied, serves)
                if reason is not None:
                    raise Unserved(reason)
                return f"the schema is at {current}, newer than this version ({own[-1]}), and serves it: nothing to do"
            await connection.run_sync(_upgrade, revision)
    finally:
        await engine.dispose()
    after = own[-1] if revision == "head" else revision
    if after == own[-1]:
        await make_indexes(url, BESIDE_TIMEOUT)
        await validate_checks(url, BESIDE_TIMEOUT)
        await fill_tables(url, BESIDE_TIMEOUT)
    return "the database is up to date" if current == after else f"migrated from {current or 'nothing'} to {after}"


async def check(url: str) -> bool:
    """Whether this version of the code can work with the schema.

    Raises:
        Exception: one of :data:`.engine.AWAY`.
    """
    engine = make_engine(url, pool_size=1, application_name="mailwarren-migrate")
    try:
        async with driver_connect(engine) as connection:
            return await trouble(connection) is None
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, revision: str) -> None:
    settings = config()
    settings.attributes["connection"] = connection
    command.upgrade(settings, revision)
