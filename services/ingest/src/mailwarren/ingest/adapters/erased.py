"""Addresses that were erased and get no mail any more: known by a keyed hash alone (``docs/adr/0039``).

The key is the tenant's, and Postgres makes the hash: no process holds a key, and a tenant that has erased nothing costs
one look at an empty index.
"""

from typing import Any
from uuid import UUID

from mailwarren.ingest.adapters.keyset import Runs

# Fixed in length, so that no two keys and addresses make one text.
_HASH = "sha256(k.secret || convert_to({0}, 'UTF8'))"
IS_ERASED = f"""EXISTS (
    SELECT FROM erasure_keys k JOIN erased_addresses g ON g.tenant = k.tenant AND g.hash = {_HASH.format("{address}")}
    WHERE k.tenant = {{tenant}})"""
"""A condition on two columns; :func:`is_erased` names them."""
_KEY = "INSERT INTO erasure_keys (tenant, secret, created_at) VALUES ($1, $2, now()) ON CONFLICT (tenant) DO NOTHING"
_BLOCK = f"""
INSERT INTO erased_addresses (tenant, hash, created_at)
SELECT k.tenant, {_HASH.format("$2::text")}, now() FROM erasure_keys k WHERE k.tenant = $1 ON CONFLICT DO NOTHING
"""  # noqa: S608 - constants
_ADMIT = f"""
DELETE FROM erased_addresses g USING erasure_keys k
WHERE k.tenant = $1 AND g.tenant = k.tenant AND g.hash = {_HASH.format("$2::text")} RETURNING 1
"""  # noqa: S608 - constants


def is_erased(tenant: str, address: str) -> str:
    """SQL that says whether the key of an address is a tenant's erased one; both are columns."""
    return IS_ERASED.format(tenant=tenant, address=address)


async def block(connection: Any, tenant: UUID, address: str, secret: bytes) -> None:
    """From now on the address gets no mail of the tenant's; ``secret`` becomes its key if it has none."""
    await connection.execute(_KEY, tenant, secret)
    await connection.execute(_BLOCK, tenant, address)


async def admit(runs: Runs, tenant: UUID, address: str) -> bool:
    """It gets mail again; whether it had been erased."""
    return bool(await runs.fetch(_ADMIT, tenant, address))
