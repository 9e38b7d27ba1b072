"""A migration that says it expands takes nothing away that code of the version before uses: the SQL that it runs."""

import re

import asyncpg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, event

from mailwarren.store import migrate
from mailwarren.store.engine import dsn
from mailwarren.store.history import EXPAND, own_revisions, step_of
from mailwarren.store.scripts import config

TAKES_AWAY = {
    r"\bDROP\b(?! DEFAULT)": "drops",
    r"\bRENAME\b": "renames",
    r"\bTRUNCATE\b": "empties",
    r"\bDELETE FROM\b": "deletes",
    r"\bREVOKE\b": "revokes",
    r"\bSET NOT NULL\b": "makes a column not null",
    r"\bDROP DEFAULT\b": "takes a default away",
    r"\bALTER COLUMN \S+ (?:SET DATA )?TYPE\b": "changes a type",
    r"\bADD COLUMN\b(?=.*\bNOT NULL\b)(?!.*\bDEFAULT\b)": "adds a column that older code does not fill",
    r"\bADD (?:CONSTRAINT|CHECK|UNIQUE|FOREIGN|PRIMARY)\b": "adds a constraint that older code does not know",
    r"\bCREATE UNIQUE INDEX\b": "adds a constraint that older code does not know",
}


def taken_away(sql: str) -> list[str]:
    """What statements do that code of the version before would stumble over; new tables are nobody's yet."""
    found, new = [], set()
    # What a function does when it is called, and what a text says, are no steps of the migration.
    plain = re.sub(r"\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'", "''", sql, flags=re.DOTALL)
    for statement in plain.split(";"):
        flat = " ".join(statement.split())
        if made := re.match(r"CREATE (?:TABLE|FUNCTION)(?: IF NOT EXISTS)? ([\w.\"]+)", flat):
            new.add(made[1])
            continue
        on = re.search(r"(?:ALTER TABLE(?: ONLY)?|INDEX \S+ ON|DELETE FROM|ON FUNCTION) ([\w.\"]+)", flat)
        if on and on[1] in new:
            continue
        found += [f"{why}: {flat}" for form, why in TAKES_AWAY.items() if re.search(form, flat, re.IGNORECASE)]
    return found


@pytest.mark.postgres
async def test_every_expanding_migration_keeps_to_it(postgres) -> None:
    connection = await asyncpg.connect(dsn(postgres.database_url))
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()
    steps = {one.revision: step_of(one)[0] for one in ScriptDirectory.from_config(config()).walk_revisions()}
    ran: list[str] = []

    def note(_connection, _cursor, statement, *_) -> None:
        ran.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        for revision in own_revisions():
            ran.clear()
            await migrate.upgrade(postgres.database_url, revision)
            assert any("CREATE" in statement or "ALTER" in statement for statement in ran)
            if steps[revision] == EXPAND:
                assert taken_away(";".join(ran)) == [], revision
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE emails",
        "ALTER TABLE emails DROP COLUMN subject",
        "ALTER TABLE emails RENAME TO mails",
        "ALTER TABLE emails RENAME COLUMN a TO b",
        "ALTER TABLE emails ADD COLUMN a TEXT NOT NULL",
        "alter table emails add column a text not null",
        "ALTER TABLE emails ALTER COLUMN a SET NOT NULL",
        "ALTER TABLE emails ALTER COLUMN a DROP DEFAULT",
        "ALTER TABLE emails ALTER COLUMN a TYPE BIGINT",
        "ALTER TABLE emails ADD CONSTRAINT ck CHECK (a IN ('x'))",
        "CREATE UNIQUE INDEX uq ON emails (a)",
        "CREATE TABLE n (a TEXT); ALTER TABLE emails DROP COLUMN a",
        "REVOKE ALL ON FUNCTION f(date) FROM ada",
        "DELETE FROM emails WHERE a = 'DEFAULT'",
        "ALTER TABLE emails ADD COLUMN a TEXT NOT NULL CHECK (a <> 'DEFAULT')",
    ],
)
def test_what_older_code_would_stumble_over_is_seen(sql) -> None:
    assert taken_away(sql) != []


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE n (a TEXT NOT NULL, CHECK (a IN ('DROP'))); CREATE UNIQUE INDEX uq ON n (a)",
        "ALTER TABLE emails ADD COLUMN a TEXT",
        "ALTER TABLE emails ADD COLUMN a BOOLEAN DEFAULT false NOT NULL",
        "CREATE INDEX ix ON emails (a)",
        "COMMENT ON TABLE emails IS 'DROP this; RENAME that'",
        "INSERT INTO emails (a) VALUES ('DROP')",
        "CREATE FUNCTION f(day date) AS $b$ BEGIN DROP TABLE x; END $b$; REVOKE ALL ON FUNCTION f(date) FROM PUBLIC",
    ],
)
def test_what_only_adds_is_let_through(sql) -> None:
    assert taken_away(sql) == []
