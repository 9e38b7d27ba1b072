"""Which schemas a version of the code can work with: more than its own.

Migrations expand before they contract. An *expanding* one takes nothing away that older code uses; a *contracting* one
names the oldest revision whose code still works after it. Both stand in ``schema_history``, so that code can judge
steps that were made by versions it has never heard of.
"""

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from alembic.script import Script, ScriptDirectory

from mailwarren.store.scripts import config

if TYPE_CHECKING:
    from asyncpg import Connection, Record

EXPAND = "expand"
CONTRACT = "contract"


def own_revisions() -> tuple[str, ...]:
    """The revisions that this version of the code knows, the oldest first; the last is its head."""
    return tuple(script.revision for script in _scripts())


def step_of(script: Script) -> tuple[str, str | None]:
    """What a migration declares: its step, and for a contracting one the oldest revision that it serves.

    Raises:
        ValueError: it declares neither, or a contracting one does not say whom it serves.
    """
    step, serves = getattr(script.module, "step", None), getattr(script.module, "serves", None)
    if step not in (EXPAND, CONTRACT):
        raise ValueError(f'{script.revision}: declare step = "{EXPAND}" or "{CONTRACT}"')
    if (step == CONTRACT) != (serves is not None):
        raise ValueError(f"{script.revision}: a contracting migration, and only that, names the revision it serves")
    return step, serves


def judge(own: Iterable[str], current: str | None, applied: Iterable[str], serves: Iterable[str]) -> str | None:
    """Why code that knows the revisions ``own`` cannot work with a schema; None when it can.

    Args:
        own: the code's revisions, the oldest first.
        current: the schema's revision; None when it has none.
        applied: all that were applied to it.
        serves: what its contracting steps name.
    """
    known = list(own)
    head = known[-1]
    if current is None:
        return "the migrations have not run; run: mailwarren migrate"
    if head not in set(applied):
        if current in known:
            return f"the schema is at {current} and this version needs {head}; run: mailwarren migrate"
        return f"the schema is at {current}, which does not come from {head}, the newest that this version knows"
    beyond = sorted(oldest for oldest in serves if oldest not in known)
    if beyond:
        return (
            f"the schema is at {current} and serves versions from {beyond[-1]} on; this one is of {head}: run a newer"
        )
    return None


async def read(connection: "Connection[Record]") -> tuple[str | None, list[str], list[str]]:
    """A schema's revision, the revisions applied to it, and those that its contracting steps serve.

    Raises:
        Exception: one of :data:`.engine.AWAY`, and any of Postgres that is not a missing table.
    """
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return None, [], []
    current = await connection.fetchval("SELECT version_num FROM alembic_version")
    if await connection.fetchval("SELECT to_regclass('schema_history')") is None:
        own = own_revisions()
        return current, list(own[: own.index(current) + 1]) if current in own else [], []
    rows = await connection.fetch("SELECT revision, serves FROM schema_history")
    return current, [row["revision"] for row in rows], [row["serves"] for row in rows if row["serves"] is not None]


async def trouble(connection: "Connection[Record]") -> str | None:
    """Why this version cannot work with the schema of a database; None when it can.

    Raises:
        Exception: as :func:`read`.
    """
    return judge(own_revisions(), *await read(connection))


@cache
def _scripts() -> tuple[Script, ...]:
    return tuple(reversed(list(ScriptDirectory.from_config(config()).walk_revisions())))
