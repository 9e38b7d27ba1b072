"""``mailwarren data-keys``: the keys that secrets in the database are encrypted with."""

from typing import Any

import asyncpg

from mailwarren.ingest.commands import Failed
from mailwarren.runtime.vault import Unreadable, Vault
from mailwarren.store.engine import dsn

AT_ONCE = 500

_PAGE = """
SELECT tenant, domain, selector, private FROM domain_keys
WHERE private IS NOT NULL AND (tenant, domain, selector) > ($1, $2, $3) ORDER BY tenant, domain, selector LIMIT $4
"""
_FIRST = "00000000-0000-0000-0000-000000000000"
# A key that was retired, or renewed by somebody else, meanwhile stays as it is.
_RENEW = """
UPDATE domain_keys SET private = $5 WHERE tenant = $1 AND domain = $2 AND selector = $3 AND private = $4
"""


async def renew(database_url: str, vault: Vault) -> dict[str, Any]:
    """Encrypt every secret with the first key that is not yet; how many were looked at, and how many changed.

    Raises:
        Failed: the database cannot be reached, or no key decrypts some of them. What can be renewed is.
    """
    try:
        connection = await asyncpg.connect(dsn(database_url))
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise Failed(f"no database: {error or type(error).__name__}") from error
    looked, changed, unreadable = 0, 0, []
    place: tuple[Any, Any, str] = (_FIRST, _FIRST, "")
    try:
        while rows := await connection.fetch(_PAGE, *place, AT_ONCE):
            for row in rows:
                looked += 1
                if vault.is_new(row["private"]):
                    continue
                try:
                    closed = vault.close(vault.open(row["private"]))
                except Unreadable:
                    unreadable.append(row["selector"])
                    continue
                values = (row["tenant"], row["domain"], row["selector"], row["private"], closed)
                changed += (await connection.execute(_RENEW, *values)) == "UPDATE 1"
            last = rows[-1]
            place = last["tenant"], last["domain"], last["selector"]
    finally:
        await connection.close()
    if unreadable:
        shown = ", ".join(unreadable[:5])
        raise Failed(f"none of the keys decrypts {len(unreadable)} of {looked} ({shown}); {changed} were renewed")
    return {"looked_at": looked, "renewed": changed}
