"""Attachments of emails and the blobs they refer to, in Postgres.

A blob is shared by all who attach the same octets. Its row is written before its object and deleted after it, and
``stored_at`` says that the object is there: whoever deletes one takes that back first, in a transaction of its own, so
that a crash leaves an object too many and never a row without one.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid5

from mailwarren.contracts.parcel import Attachment
from mailwarren.ingest.adapters.database import Database

UNRECORDED_DAYS = 40
"""Days for which the files of an email are kept that has no delivery and is not scheduled: it was never published, or
the tracker has not recorded it yet."""
RELEASED_DAYS = 3
"""The same for one that was scheduled, from its release or cancel on: until the tracker has recorded it."""

_USE = """
INSERT INTO blobs AS b (digest, size, created_at, last_used_at) VALUES ($1, $2, now(), now())
ON CONFLICT (digest) DO UPDATE SET last_used_at = greatest(b.last_used_at, now()) RETURNING stored_at
"""
_STORED = "UPDATE blobs SET stored_at = now() WHERE digest = $1"
_ADD = """
INSERT INTO email_attachments
  (tenant, email_id, id, position, digest, filename, content_type, content_id, size, created_at)
SELECT $1, $2, id, position, digest, filename, content_type, content_id, size, now()
FROM unnest($3::uuid[], $4::smallint[], $5::bytea[], $6::text[], $7::text[], $8::text[], $9::bigint[])
  AS t (id, position, digest, filename, content_type, content_id, size)
ON CONFLICT DO NOTHING
"""
_SHOWN = "tenant, email_id, id, position, digest, filename, content_type, content_id, size, created_at"
_LIST = f"SELECT {_SHOWN} FROM email_attachments WHERE tenant = $1 AND email_id = $2 ORDER BY position"  # noqa: S608 - constants
_ONE = f"SELECT {_SHOWN} FROM email_attachments WHERE tenant = $1 AND email_id = $2 AND id = $3"  # noqa: S608 - same
_LINKED = f"SELECT {_SHOWN} FROM email_attachments WHERE email_id = $1 AND id = $2"  # noqa: S608 - same
_DELETE = "DELETE FROM email_attachments WHERE tenant = $1 AND email_id = $2 AND id = $3 RETURNING id"
_FORGET = """
WITH gone AS (
  DELETE FROM email_attachments WHERE (tenant, email_id, id) IN (
    SELECT a.tenant, a.email_id, a.id FROM email_attachments a
    WHERE a.created_at < now() - $1 * interval '1 day'
      AND NOT EXISTS (SELECT FROM deliveries d WHERE d.email_id = a.email_id AND d.tenant = a.tenant
                      AND d.ended_at IS NULL)
      AND NOT EXISTS (SELECT FROM scheduled s WHERE s.id = a.email_id AND s.tenant = a.tenant
                      AND (s.ended_at IS NULL OR s.ended_at > now() - $4 * interval '1 day'))
      AND (a.created_at < now() - $3 * interval '1 day' OR EXISTS (
        SELECT FROM deliveries d WHERE d.email_id = a.email_id AND d.tenant = a.tenant))
    LIMIT $2 FOR UPDATE SKIP LOCKED
  ) RETURNING 1
) SELECT count(*) FROM gone
"""
_UNUSED = """
last_used_at < now() - $1 * interval '1 day'
AND NOT EXISTS (SELECT FROM email_attachments a WHERE a.digest = b.digest)
"""
_DOOM = f"""
UPDATE blobs b SET stored_at = NULL WHERE digest IN (
  SELECT digest FROM blobs b WHERE {_UNUSED} ORDER BY last_used_at LIMIT $2 FOR UPDATE SKIP LOCKED
) RETURNING digest
"""  # noqa: S608 - constants
_HOLD = f"SELECT 1 FROM blobs b WHERE digest = $2 AND stored_at IS NULL AND {_UNUSED} FOR UPDATE"  # noqa: S608 - same


class EmailAttachments:
    """Every method may raise ``DatabaseDown``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def use(self, digest: bytes, size: int) -> bool:
        """Keep a blob from being forgotten; whether its object is stored already."""
        return (await self._database.fetchrow(_USE, digest, size))["stored_at"] is not None

    async def stored(self, digest: bytes) -> None:
        """Its object is there."""
        await self._database.fetch(_STORED, digest)

    async def add(self, tenant: UUID, email_id: UUID, files: Sequence[Attachment]) -> None:
        """Write an email's attachments; a repeat of the call changes nothing."""
        rows = [
            (
                uuid5(email_id, f"attachment/{position}"),
                position,
                bytes.fromhex(file.digest),
                file.filename,
                file.content_type,
                file.content_id,
                file.size,
            )
            for position, file in enumerate(files)
        ]
        await self._database.fetch(_ADD, tenant, email_id, *map(list, zip(*rows, strict=True)))

    async def of_email(self, tenant: UUID, email_id: UUID) -> list[Any]:
        """An email's attachments in their order."""
        return await self._database.fetch(_LIST, tenant, email_id)

    async def one(self, tenant: UUID, email_id: UUID, ident: UUID) -> Any:
        """One of them, or None."""
        return await self._database.fetchrow(_ONE, tenant, email_id, ident)

    async def linked(self, email_id: UUID, ident: UUID) -> Any:
        """One of any tenant, for a link that says by its signature whose it is; or None."""
        return await self._database.fetchrow(_LINKED, email_id, ident)

    async def delete(self, tenant: UUID, email_id: UUID, ident: UUID) -> bool:
        """Whether there was one; its blob goes with the next retention, unless another email has it."""
        return bool(await self._database.fetch(_DELETE, tenant, email_id, ident))

    # Retention

    async def forget(self, days: int, at_most: int) -> int:
        """Delete attachments of emails that have ended, and are not scheduled, older than ``days``; how many."""
        (row,) = await self._database.fetch(_FORGET, days, at_most, UNRECORDED_DAYS, RELEASED_DAYS, within=30.0)
        return int(row[0])

    async def doom(self, days: int, at_most: int) -> list[bytes]:
        """Blobs that nothing has referred to for ``days``, from now on taken for missing."""
        return [row["digest"] for row in await self._database.fetch(_DOOM, days, at_most, within=30.0)]

    @asynccontextmanager
    async def condemned(self, digest: bytes, days: int) -> AsyncIterator[bool]:
        """Inside, nobody uses the blob, and its row goes when the block ends well; False when somebody did."""
        async with self._database.connection() as connection, connection.transaction():
            held = bool(await connection.fetch(_HOLD, days, digest))
            yield held
            if held:
                await connection.execute("DELETE FROM blobs WHERE digest = $1", digest)
