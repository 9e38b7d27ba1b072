"""``mailwarren data-keys``: the keys that secrets in the database are encrypted with."""

from dataclasses import dataclass, field
from typing import Any

import asyncpg

from mailwarren.ingest.commands import Failed
from mailwarren.runtime.vault import Unreadable, Vault
from mailwarren.store.engine import dsn

AT_ONCE = 500

_FIRST = "00000000-0000-0000-0000-000000000000"
_KEYS = """
SELECT private AS closed, tenant, domain, selector FROM domain_keys
WHERE private IS NOT NULL AND (tenant, domain, selector) > ($1, $2, $3) ORDER BY tenant, domain, selector LIMIT $4
"""
# A key that was retired, or renewed by somebody else, meanwhile stays as it is.
_RENEW_KEY = """
UPDATE domain_keys SET private = $5 WHERE tenant = $1 AND domain = $2 AND selector = $3 AND private = $4
"""
_SECRETS = """
SELECT secret AS closed, tenant, id FROM webhooks WHERE (tenant, id) > ($1, $2) ORDER BY tenant, id LIMIT $3
"""
_RENEW_CURRENT = "UPDATE webhooks SET secret = $4 WHERE tenant = $1 AND id = $2 AND secret = $3"
_PREVIOUS = """
SELECT previous_secret AS closed, tenant, id FROM webhooks
WHERE previous_secret IS NOT NULL AND (tenant, id) > ($1, $2) ORDER BY tenant, id LIMIT $3
"""
_RENEW_PREVIOUS = """
UPDATE webhooks SET previous_secret = $4 WHERE tenant = $1 AND id = $2 AND previous_secret = $3
"""
_PLACES = (
    (_KEYS, _RENEW_KEY, (_FIRST, _FIRST, "")),
    (_SECRETS, _RENEW_CURRENT, (_FIRST, _FIRST)),
    (_PREVIOUS, _RENEW_PREVIOUS, (_FIRST, _FIRST)),
)
"""Where secrets are: how a page of them is read, how one is replaced, and what stands before the first."""


@dataclass(slots=True)
class _Count:
    looked: int = 0
    changed: int = 0
    unreadable: list[str] = field(default_factory=list)


async def renew(database_url: str, vault: Vault) -> dict[str, Any]:
    """Encrypt every secret with the first key that is not yet; how many were looked at, and how many changed.

    Raises:
        Failed: the database cannot be reached, or no key decrypts some of them. What can be renewed is.
    """
    try:
        connection = await asyncpg.connect(dsn(database_url))
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise Failed(f"no database: {error or type(error).__name__}") from error
    count = _Count()
    try:
        for page, replace, first in _PLACES:
            await _renew(connection, vault, count, page=page, replace=replace, first=first)
    finally:
        await connection.close()
    if count.unreadable:
        shown = ", ".join(count.unreadable[:5])
        raise Failed(
            f"none of the keys decrypts {len(count.unreadable)} of {count.looked} ({shown}); "
            f"{count.changed} were renewed"
        )
    return {"looked_at": count.looked, "renewed": count.changed}


async def _renew(
    connection: Any, vault: Vault, count: _Count, *, page: str, replace: str, first: tuple[Any, ...]
) -> None:
    place = first
    while rows := await connection.fetch(page, *place, AT_ONCE):
        for row in rows:
            closed, *place_of = row.values()
            count.looked += 1
            if vault.is_new(closed):
                continue
            try:
                again = vault.close(vault.open(closed))
            except Unreadable:
                count.unreadable.append(str(place_of[-1]))
                continue
            count.changed += (await connection.execute(replace, *place_of, closed, again)) == "UPDATE 1"
        place = tuple(rows[-1].values())[1:]
