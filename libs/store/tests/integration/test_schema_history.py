"""Schemas of other versions against a real server: what was made before there was a history, and what comes later."""

import asyncpg
import pytest

from mailwarren.store import migrate
from mailwarren.store.engine import driver_connect, dsn, make_engine
from mailwarren.store.history import own_revisions, trouble

pytestmark = pytest.mark.postgres
HEAD = own_revisions()[-1]


@pytest.fixture
async def url(postgres):
    """An empty database for each test."""
    connection = await asyncpg.connect(dsn(postgres.database_url))
    await connection.execute("DROP SCHEMA public CASCADE")
    await connection.execute("CREATE SCHEMA public")
    await connection.close()
    return postgres.database_url


async def run(url, sql):
    connection = await asyncpg.connect(dsn(url))
    try:
        await connection.execute(sql)
        return await connection.fetch("TABLE schema_history")
    finally:
        await connection.close()


async def judged(url):
    engine = make_engine(url)
    try:
        async with driver_connect(engine) as connection:
            return await trouble(connection)
    finally:
        await engine.dispose()


async def step(url, revision, kind, serves=None):
    """What a newer version's migration leaves behind."""
    told = "NULL" if serves is None else f"'{serves}'"
    await run(
        url,
        f"INSERT INTO schema_history VALUES ('{revision}', '{kind}', {told}, now()); "
        f"UPDATE alembic_version SET version_num = '{revision}'",
    )


async def test_a_database_from_before_the_history_gets_one(url) -> None:
    assert "have not run" in await judged(url)
    assert await migrate.upgrade(url, "0003_claims") == "migrated from nothing to 0003_claims"
    assert f"is at 0003_claims and this version needs {HEAD}" in await judged(url)
    assert await migrate.upgrade(url) == f"migrated from 0003_claims to {HEAD}"
    rows = await run(url, "SELECT 1")
    assert [row["revision"] for row in rows] == list(own_revisions())
    assert {(row["step"], row["serves"]) for row in rows} == {("expand", None)}
    assert await judged(url) is None
    assert await migrate.upgrade(url) == "the database is up to date"


async def test_a_newer_schema_that_expanded_is_worked_with_and_left_alone(url) -> None:
    await migrate.upgrade(url)
    await step(url, "0998_more", "expand")
    await step(url, "0999_less", "contract", HEAD)
    assert await judged(url) is None
    assert await migrate.check(url)
    said = await migrate.upgrade(url)
    assert said == f"the schema is at 0999_less, newer than this version ({HEAD}), and serves it: nothing to do"


async def test_a_newer_schema_that_contracted_is_refused_with_a_sentence(url) -> None:
    await migrate.upgrade(url)
    await step(url, "0998_more", "expand")
    await step(url, "0999_less", "contract", "0998_more")
    said = f"the schema is at 0999_less and serves versions from 0998_more on; this one is of {HEAD}: run a newer"
    assert await judged(url) == said
    assert not await migrate.check(url)
    with pytest.raises(migrate.Unserved, match="serves versions from 0998_more on"):
        await migrate.upgrade(url)
    assert len(await run(url, "SELECT 1")) == len(own_revisions()) + 2


async def test_a_schema_of_another_line_is_refused(url) -> None:
    await migrate.upgrade(url, "0003_claims")
    connection = await asyncpg.connect(dsn(url))
    await connection.execute("UPDATE alembic_version SET version_num = '0004_other'")
    await connection.close()
    with pytest.raises(migrate.Unserved, match="does not come from"):
        await migrate.upgrade(url)
