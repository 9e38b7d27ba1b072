"""Every migration says whether it expands or contracts, and one that says it expands takes nothing away."""

import io
import re

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory

from mailwarren.store.history import CONTRACT, EXPAND, judge, own_revisions, step_of
from mailwarren.store.scripts import config

SCRIPTS = list(ScriptDirectory.from_config(config()).walk_revisions())

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
    """What statements do that code of the version before would stumble over; what is new is nobody's yet."""
    found, new = [], set()
    for statement in re.sub(r"\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'", "''", sql, flags=re.DOTALL).split(";"):
        flat = " ".join(statement.split())
        if made := re.match(r"CREATE (?:TABLE (?:IF NOT EXISTS )?|FUNCTION )([^\s(]+)", flat):
            new.add(made[1])
            continue
        if (on := re.search(r"(?:ALTER TABLE(?: ONLY)?|INDEX \S+ ON|DELETE FROM|ON FUNCTION) ([^\s(]+)", flat)) and on[
            1
        ] in new:
            continue
        found += [f"{why}: {flat}" for form, why in TAKES_AWAY.items() if re.search(form, flat, re.IGNORECASE)]
    return found


def sql_of(module) -> str:
    buffer = io.StringIO()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": buffer})
    with Operations.context(context):
        module.upgrade()
    return buffer.getvalue()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.revision)
def test_a_migration_declares_its_step_and_keeps_to_it(script) -> None:
    step, serves = step_of(script)
    own = own_revisions()
    if step == EXPAND:
        assert taken_away(sql_of(script.module)) == []
    else:
        # It was made obsolete by an earlier release: code of this very revision is not the oldest that still works.
        assert own.index(serves) < own.index(script.revision)


def test_the_revisions_are_one_line() -> None:
    assert ScriptDirectory.from_config(config()).get_heads() == [own_revisions()[-1]]
    assert own_revisions()[0] == "0001_tracker"


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
        "DELETE FROM emails WHERE a = 'DEFAULT'",
        "REVOKE ALL ON FUNCTION made_before(date) FROM PUBLIC",
        "CREATE FUNCTION f() RETURNS void AS $$ BEGIN END $$; REVOKE ALL ON TABLE emails FROM PUBLIC",
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
        "CREATE FUNCTION f() RETURNS void AS $b$ BEGIN DROP TABLE a; END $b$; REVOKE ALL ON FUNCTION f() FROM b",
        "COMMENT ON TABLE emails IS 'DROP this; RENAME that'",
        "INSERT INTO emails (a) VALUES ('DROP')",
    ],
)
def test_what_only_adds_is_let_through(sql) -> None:
    assert taken_away(sql) == []


class Script:
    def __init__(self, **declared) -> None:
        self.revision = "0009_made_up"
        self.module = type("Module", (), declared)


@pytest.mark.parametrize("declared", [{}, {"step": "both"}, {"step": CONTRACT}, {"step": EXPAND, "serves": "0001"}])
def test_a_migration_that_declares_too_little_or_too_much_is_refused(declared) -> None:
    with pytest.raises(ValueError, match="0009_made_up"):
        step_of(Script(**declared))


OWN = ("1", "2", "3")


@pytest.mark.parametrize(
    ("current", "applied", "serves", "says"),
    [
        (None, [], [], "have not run"),
        ("2", ["1", "2"], [], "is at 2 and this version needs 3"),
        ("3", ["1", "2", "3"], [], None),
        ("5", ["1", "2", "3", "4", "5"], [], None),
        ("5", ["1", "2", "3", "4", "5"], ["3"], None),
        ("5", ["1", "2", "3", "4", "5"], ["2", "4"], "serves versions from 4 on; this one is of 3"),
        ("9", ["1", "2", "8", "9"], [], "does not come from 3"),
        ("9", [], [], "does not come from 3"),
    ],
)
def test_the_judgement_of_a_schema(current, applied, serves, says) -> None:
    found = judge(OWN, current, applied, serves)
    assert found is None if says is None else says in found
