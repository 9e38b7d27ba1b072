"""Bring a database up to date, from any number of processes at once: one migrates, the others wait."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from mailwarren.store.engine import make_engine

LOCK = 0x6D61696C77617272
"""Advisory lock key of migrations ("mailwarr")."""
TIMEOUT = 600.0
"""Seconds that a migration's statement, or the wait for another process's migration, may take."""


async def upgrade(url: str, revision: str = "head") -> None:
    """Run the missing migrations, all in one transaction; none when the schema is current.

    Raises:
        Exception: one of :data:`.engine.AWAY`, or what a migration ran into. Nothing is changed then.
    """
    engine = make_engine(url, pool_size=1, statement_timeout=TIMEOUT, application_name="mailwarren-migrate")
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            await connection.run_sync(_upgrade, revision)
    finally:
        await engine.dispose()


async def check(url: str) -> bool:
    """Whether the schema is the one that this version of the code expects.

    Raises:
        Exception: one of :data:`.engine.AWAY`.
    """
    engine = make_engine(url, pool_size=1, application_name="mailwarren-migrate")
    try:
        return await is_current(engine)
    finally:
        await engine.dispose()


async def is_current(engine: AsyncEngine) -> bool:
    """:func:`check` over an engine that exists."""
    async with engine.connect() as connection:
        return await connection.run_sync(_heads) == set(ScriptDirectory.from_config(config()).get_heads())


def config() -> Config:
    """Alembic's configuration for the migrations of this package."""
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    settings.set_main_option("path_separator", "os")
    return settings


def _upgrade(connection: Connection, revision: str) -> None:
    settings = config()
    settings.attributes["connection"] = connection
    command.upgrade(settings, revision)


def _heads(connection: Connection) -> set[str]:
    return set(MigrationContext.configure(connection).get_current_heads())
