"""Roles of Postgres and their grants, in one transaction; only what differs is changed.

A password is sent as a SCRAM verifier, so that neither the server's log nor its statistics ever see it.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from mailwarren.store.access import BOOKKEEPING

if TYPE_CHECKING:
    from asyncpg import Connection, Record

LOCK = 0x6D77_6163_6365_7373
"""Advisory lock key ("mwaccess"): two of these at once wait for each other."""
ITERATIONS = 4096

_ROLES = """
SELECT rolname, rolcanlogin, rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication AS mighty
FROM pg_roles WHERE rolname = ANY($1::text[])
"""
_ME = "SELECT rolname, rolsuper OR rolcreaterole AS makes_roles FROM pg_roles WHERE rolname = current_user"
_RELATIONS = """
SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = ANY($1::text[])
"""
_HELD = """
SELECT c.relname, r.rolname, a.privilege_type
FROM pg_class c CROSS JOIN aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ANY($1::text[]) AND r.rolname = ANY($2::text[])
"""
_MAY_CALL = """
SELECT r.rolname FROM pg_proc p CROSS JOIN aclexplode(p.proacl) a JOIN pg_roles r ON r.oid = a.grantee
WHERE p.oid = to_regprocedure($1) AND r.rolname = ANY($2::text[])
"""
_LACKS = """
SELECT r.rolname FROM pg_roles r WHERE r.rolname = ANY($1::text[]) AND NOT (
  has_database_privilege(r.oid, current_database(), 'CONNECT')
  AND has_schema_privilege(r.oid, current_schema(), 'USAGE'))
"""
_CREATES = """
SELECT r.rolname FROM pg_roles r
WHERE r.rolname = ANY($1::text[]) AND has_schema_privilege(r.oid, current_schema(), 'CREATE')
"""


class RoleTrouble(Exception):
    """What a person has to do first."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role: its privileges by table, and the functions that it may call, with their argument types."""

    name: str
    tables: Mapping[str, frozenset[str]]
    functions: Sequence[str] = ()


async def apply_roles(connection: "Connection[Record]", roles: Sequence[Role], passwords: Mapping[str, str]) -> str:
    """Make roles and grants; inside a transaction, and as the owner of the database.

    Before the migrations have run only the roles are made.

    Returns:
        What was done, in words.

    Raises:
        RoleTrouble: a role is missing and may not be made, or a table is missing or somebody else's.
    """
    names = [role.name for role in roles]
    await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
    made = await _make_roles(connection, names, passwords)
    try:
        await _open_the_door(connection, names)
        granted = await _grant(connection, roles)
    except asyncpg.InsufficientPrivilegeError as error:
        raise RoleTrouble(f"connect as the owner of the database and of its tables ({error})") from error
    lacking = [row[0] for row in await connection.fetch(_LACKS, names)]
    if lacking:
        raise RoleTrouble(
            f"{', '.join(lacking)} may not connect to the database or not use its schema, and the connecting role "
            "cannot let them: connect as the owner of the database"
        )
    creating = [row[0] for row in await connection.fetch(_CREATES, names)]
    note = ""
    if creating:
        schema = await connection.fetchval("SELECT quote_ident(current_schema())")
        note = f"; they may still make tables: as the schema's owner, REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC"
    return f"{made}; {granted}{note}"


async def _make_roles(connection: "Connection[Record]", names: Sequence[str], passwords: Mapping[str, str]) -> str:
    me = await connection.fetchrow(_ME)
    there = {row["rolname"]: row for row in await connection.fetch(_ROLES, names)}
    mighty = [name for name, row in there.items() if row["mighty"]]
    if mighty:
        raise RoleTrouble(f"{', '.join(mighty)} may do more than a service should: take their attributes away, or DROP")
    missing = [name for name in names if name not in there]
    may = me is not None and me["makes_roles"]
    if missing and not may:
        raise RoleTrouble(
            f"the roles {', '.join(missing)} are missing and {me['rolname'] if me else 'the connecting role'} may not "
            "make roles: make them with LOGIN and the services' passwords (with CloudNativePG under "
            "spec.managed.roles), or connect with a role that has CREATEROLE, and repeat"
        )
    kept: list[str] = []
    for name in names:
        verb = "CREATE" if name in missing else "ALTER"
        try:
            async with connection.transaction():
                if may:
                    await connection.execute(
                        f"{verb} ROLE {_quoted(name)} LOGIN PASSWORD '{verifier(passwords[name])}'"
                    )
                else:
                    kept.append(name)
        except asyncpg.InsufficientPrivilegeError:
            if name in missing:
                raise
            kept.append(name)
    unable = [name for name in kept if not there[name]["rolcanlogin"]]
    if unable:
        raise RoleTrouble(f"{', '.join(unable)} may not log in: ALTER ROLE … LOGIN")
    said = [f"made {', '.join(missing)}"] if missing else []
    said += [f"{', '.join(kept)} with the password that somebody else gave"] if kept else []
    return f"roles {', '.join(names)}" + (f" ({'; '.join(said)})" if said else "")


async def _open_the_door(connection: "Connection[Record]", names: Iterable[str]) -> None:
    database = _quoted(await connection.fetchval("SELECT current_database()"))
    schema = _quoted(await connection.fetchval("SELECT current_schema()"))
    listed = ", ".join(_quoted(name) for name in names)
    await connection.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
    await connection.execute(f"GRANT CONNECT ON DATABASE {database} TO {listed}")
    await connection.execute(f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC")
    await connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {listed}")
    # What migrations make later: tables are nobody's anyway, functions would be everybody's.
    await connection.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")


async def _grant(connection: "Connection[Record]", roles: Sequence[Role]) -> str:
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return "no tables yet: repeat this after mailwarren migrate"
    wanted = {(table, role.name): held for role in roles for table, held in role.tables.items()}
    tables = sorted({table for table, _ in wanted})
    there = {row[0] for row in await connection.fetch(_RELATIONS, tables)}
    held: dict[tuple[str, str], set[str]] = {}
    for table, role, privilege in await connection.fetch(_HELD, tables, [role.name for role in roles]):
        held.setdefault((table, role), set()).add(privilege)
    changes = 0
    for (table, name), rights in wanted.items():
        if table not in there:
            if rights and table not in BOOKKEEPING:
                raise RoleTrouble(f"there is no table {table}; run: mailwarren migrate")
            continue
        has = held.get((table, name), set())
        for verb, preposition, difference in (("GRANT", "TO", rights - has), ("REVOKE", "FROM", has - rights)):
            if difference:
                privileges = ", ".join(sorted(difference))
                await connection.execute(f"{verb} {privileges} ON {_quoted(table)} {preposition} {_quoted(name)}")
                changes += 1
    changes += await _grant_functions(connection, roles)
    return f"{changes} grants changed" if changes else "grants as they should be"


async def _grant_functions(connection: "Connection[Record]", roles: Sequence[Role]) -> int:
    changes = 0
    for function in sorted({function for role in roles for function in role.functions}):
        if await connection.fetchval("SELECT to_regprocedure($1)", function) is None:
            raise RoleTrouble(f"there is no function {function}; run: mailwarren migrate")
        callers = {row[0] for row in await connection.fetch(_MAY_CALL, function, [role.name for role in roles])}
        for role in roles:
            if (function in role.functions) != (role.name in callers):
                verb, preposition = ("GRANT", "TO") if function in role.functions else ("REVOKE", "FROM")
                await connection.execute(f"{verb} EXECUTE ON FUNCTION {function} {preposition} {_quoted(role.name)}")
                changes += 1
    return changes


def verifier(password: str) -> str:
    """What Postgres keeps of a password (RFC 5803), made here so that the password itself is not sent."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    parts = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{parts[0]}${parts[1]}:{parts[2]}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
