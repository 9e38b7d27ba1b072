"""Deleting what is past its time, some rows at a time.

Ingest's own rows by plain SQL; the tracker's by functions that belong to the database's owner (``docs/adr/0023``).
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mailwarren.ingest.adapters.attachments import EmailAttachments
from mailwarren.ingest.adapters.blob_store import BlobStore
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.domain.idempotency import LIFETIME

WITHIN = 30.0
"""Seconds for one batch."""

_KEYS = """
WITH gone AS (
  DELETE FROM idempotency_keys WHERE (tenant, key) IN (
    SELECT tenant, key FROM idempotency_keys WHERE created_at < now() - $1::interval LIMIT $2 FOR UPDATE SKIP LOCKED
  ) RETURNING 1
) SELECT count(*) FROM gone
"""
_SCHEDULED_MAIL = """
WITH gone AS (
  UPDATE scheduled SET mail = NULL, content = NULL WHERE id IN (
    SELECT id FROM scheduled WHERE state = 'released' AND content IS NOT NULL AND ended_at < now() - $1::interval
    LIMIT $2 FOR UPDATE SKIP LOCKED
  ) RETURNING 1
) SELECT count(*) FROM gone
"""
_SCHEDULED = """
WITH gone AS (
  DELETE FROM scheduled WHERE id IN (
    SELECT id FROM scheduled WHERE ended_at < now() - $1::interval LIMIT $2 FOR UPDATE SKIP LOCKED
  ) RETURNING 1
) SELECT count(*) FROM gone
"""
_SCHEDULED_CONTENTS = """
WITH gone AS (
  DELETE FROM scheduled_contents WHERE id IN (
    SELECT id FROM scheduled_contents c WHERE created_at < now() - $1::interval
      AND NOT EXISTS (SELECT FROM scheduled s WHERE s.content = c.id) LIMIT $2
  ) RETURNING 1
) SELECT count(*) FROM gone
"""
_IMPORT_FILES = """
WITH gone AS (
  DELETE FROM contact_import_chunks WHERE ctid = ANY(ARRAY(
    SELECT c.ctid FROM contact_imports i
    JOIN contact_import_chunks c ON c.tenant = i.tenant AND c.import_id = i.id
    WHERE i.ended_at IS NOT NULL OR (i.state = 'uploading' AND i.created_at < now() - $1::interval) LIMIT $2
  )) RETURNING 1
) SELECT count(*) FROM gone
"""
_IMPORT_ERRORS = """
WITH gone AS (
  DELETE FROM contact_import_errors WHERE ctid = ANY(ARRAY(
    SELECT e.ctid FROM contact_imports i
    JOIN contact_import_errors e ON e.tenant = i.tenant AND e.import_id = i.id
    WHERE i.ended_at < now() - $1::interval LIMIT $2
  )) RETURNING 1
) SELECT count(*) FROM gone
"""
_IMPORTS = """
WITH gone AS (
  DELETE FROM contact_imports WHERE ctid = ANY(ARRAY(
    SELECT i.ctid FROM contact_imports i WHERE i.ended_at < now() - $1::interval
      AND NOT EXISTS (SELECT FROM contact_import_chunks c WHERE c.tenant = i.tenant AND c.import_id = i.id)
      AND NOT EXISTS (SELECT FROM contact_import_errors e WHERE e.tenant = i.tenant AND e.import_id = i.id)
    LIMIT $2
  )) RETURNING 1
) SELECT count(*) FROM gone
"""
_UPLOADS = """
WITH gone AS (
  DELETE FROM contact_imports WHERE ctid = ANY(ARRAY(
    SELECT i.ctid FROM contact_imports i WHERE i.state = 'uploading' AND i.created_at < now() - $1::interval
      AND NOT EXISTS (SELECT FROM contact_import_chunks c WHERE c.tenant = i.tenant AND c.import_id = i.id)
    LIMIT $2
  )) RETURNING 1
) SELECT count(*) FROM gone
"""
UPLOADED = timedelta(days=1)
"""An upload takes no longer: its client, or the process that took it in, is gone."""
_BROADCASTS = """
WITH gone AS (
  DELETE FROM broadcasts WHERE id IN (
    SELECT id FROM broadcasts b WHERE state IN ('sent', 'canceled') AND ended_at < now() - $1::interval
      AND NOT EXISTS (SELECT FROM deliveries d WHERE d.tenant = b.tenant AND d.broadcast = b.id)
    LIMIT $2 FOR UPDATE SKIP LOCKED
  ) RETURNING 1
) SELECT count(*) FROM gone
"""
_DOMAINS = """
WITH gone AS (
  DELETE FROM domains WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM domains WHERE deleted_at < now() - $1::interval LIMIT $2
  )) RETURNING 1
) SELECT count(*) FROM gone
"""
FORGOTTEN = timedelta(days=30)
"""How long the row of a deleted domain is kept: API processes that the database was away for see that it is gone."""
RELEASED = timedelta(days=3)
"""How long a released email can be read from its schedule: the tracker has recorded it long before."""
_API_LOGS = """
WITH gone AS (
  DELETE FROM api_logs WHERE ctid = ANY(ARRAY(
    SELECT l.ctid FROM api_logs l WHERE l.created_at < now() - $1::interval LIMIT $2
  )) RETURNING 1
) SELECT count(*) FROM gone
"""
_METRICS = "SELECT forget_metrics(now() - $1::interval, $2)"
_EMAILS = "SELECT gone_emails, gone_deliveries FROM forget_emails(now() - $1::interval, $2)"
_CONTENTS = "SELECT forget_contents(now() - $1::interval, $2)"
_STATS = "SELECT forget_stats(now() - $1::interval, $2)"
_SETTLED = timedelta(minutes=5)
"""After which no call that began before a deletion is still writing."""

_VALUES = """
WITH gone AS (
  SELECT tenant, array_agg(replace(id::text, '-', '')) AS places
  FROM contact_properties WHERE deleted_at < now() - $1::interval GROUP BY tenant
), old AS (
  SELECT c.tenant, c.id, g.places FROM gone g JOIN contacts c ON c.tenant = g.tenant AND c.properties ?| g.places
  LIMIT $2
), swept AS (
  UPDATE contacts c SET properties = c.properties - o.places FROM old o WHERE c.tenant = o.tenant AND c.id = o.id
  RETURNING 1
) SELECT count(*) FROM swept
"""
_PROPERTIES = """
WITH gone AS (
  DELETE FROM contact_properties WHERE ctid = ANY(ARRAY(
    SELECT p.ctid FROM contact_properties p WHERE p.deleted_at < now() - $1::interval AND NOT EXISTS (
      SELECT FROM contacts c WHERE c.tenant = p.tenant AND c.properties ? replace(p.id::text, '-', ''))
    LIMIT $2
  )) RETURNING 1
) SELECT count(*) FROM gone
"""
# {0} is segment or topic.
_TIES = """
WITH gone AS (
  DELETE FROM contact_{0}s WHERE ctid = ANY(ARRAY(
    SELECT m.ctid FROM {0}s s JOIN contact_{0}s m ON m.tenant = s.tenant AND m.{0} = s.id
    WHERE s.deleted_at < now() - $1::interval LIMIT $2
  )) RETURNING 1
) SELECT count(*) FROM gone
"""
_UNTIED = """
WITH gone AS (
  DELETE FROM {0}s WHERE ctid = ANY(ARRAY(
    SELECT s.ctid FROM {0}s s WHERE s.deleted_at < now() - $1::interval AND NOT EXISTS (
      SELECT FROM contact_{0}s m WHERE m.tenant = s.tenant AND m.{0} = s.id)
    LIMIT $2
  )) RETURNING 1
) SELECT count(*) FROM gone
"""
_UNSUBSCRIBES = """
WITH gone AS (
  DELETE FROM unsubscribes WHERE ctid = ANY(ARRAY(
    SELECT u.ctid FROM topics t JOIN unsubscribes u ON u.tenant = t.tenant AND u.topic = t.id
    WHERE t.deleted_at < now() - $1::interval LIMIT $2
  )) RETURNING 1
) SELECT count(*) FROM gone
"""
_SUPPRESSIONS = """
WITH gone AS (
  DELETE FROM suppressions WHERE (tenant, address) IN (
    SELECT tenant, address FROM suppressions WHERE expires_at < now() - $1::interval LIMIT $2 FOR UPDATE SKIP LOCKED
  ) RETURNING 1
) SELECT count(*) FROM gone
"""
_PRIVACY_PARTS = """
WITH gone AS (
  DELETE FROM privacy_parts WHERE ctid = ANY(ARRAY(
    SELECT p.ctid FROM privacy_requests r JOIN privacy_parts p ON p.tenant = r.tenant AND p.request = r.id
    WHERE r.ended_at < now() - $1::interval LIMIT $2
  )) RETURNING 1
) SELECT count(*) FROM gone
"""
_PRIVACY_REQUESTS = """
WITH gone AS (
  DELETE FROM privacy_requests WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM privacy_requests WHERE ended_at < now() - $1::interval LIMIT $2
  )) RETURNING 1
) SELECT count(*) FROM gone
"""
DELETED = {
    "contact_values": _VALUES,
    "contact_properties": _PROPERTIES,
    "contact_segments": _TIES.format("segment"),
    "segments": _UNTIED.format("segment"),
    "unsubscribes": _UNSUBSCRIBES,
    "contact_topics": _TIES.format("topic"),
    "topics": _UNTIED.format("topic"),
}
"""What hung on properties, segments and topics that somebody deleted, then these themselves: in this order."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Each method deletes one batch and says how many rows that were; it may raise ``DatabaseDown``."""

    database: Database
    batch: int

    async def idempotency_keys(self) -> dict[str, int]:
        """Records of calls whose 24 hours are over."""
        (row,) = await self._fetch(_KEYS, LIFETIME)
        return {"idempotency_keys": row[0]}

    async def deleted(self, kind: str) -> dict[str, int]:
        """What somebody deleted, a ``kind`` of :data:`DELETED`."""
        (row,) = await self._fetch(DELETED[kind], _SETTLED)
        return {kind: row[0]}

    async def suppressions(self) -> dict[str, int]:
        """Suppressions that have ended."""
        (row,) = await self._fetch(_SUPPRESSIONS, _SETTLED)
        return {"suppressions": row[0]}

    async def scheduled_mail(self) -> dict[str, int]:
        """What released emails say: the ledger has it."""
        (row,) = await self._fetch(_SCHEDULED_MAIL, RELEASED)
        return {"scheduled_mail": row[0]}

    async def scheduled(self, days: int) -> dict[str, int]:
        """When emails were to be sent that were released or canceled longer ago than ``days``."""
        (row,) = await self._fetch(_SCHEDULED, timedelta(days=days))
        return {"scheduled": row[0]}

    async def scheduled_contents(self) -> dict[str, int]:
        """Contents that no scheduled email names any more."""
        (row,) = await self._fetch(_SCHEDULED_CONTENTS, RELEASED)
        return {"scheduled_contents": row[0]}

    async def import_files(self) -> dict[str, int]:
        """Pieces of files whose import has ended, or whose upload somebody went away from."""
        (row,) = await self._fetch(_IMPORT_FILES, UPLOADED)
        return {"import_files": row[0]}

    async def import_uploads(self) -> dict[str, int]:
        """Those uploads, when no piece of them is left."""
        (row,) = await self._fetch(_UPLOADS, UPLOADED)
        return {"import_uploads": row[0]}

    async def import_errors(self, days: int) -> dict[str, int]:
        """Failed rows of imports that ended longer ago than ``days``."""
        (row,) = await self._fetch(_IMPORT_ERRORS, timedelta(days=days))
        return {"import_errors": row[0]}

    async def imports(self, days: int) -> dict[str, int]:
        """Those imports, when nothing hangs on them any more."""
        (row,) = await self._fetch(_IMPORTS, timedelta(days=days))
        return {"imports": row[0]}

    async def broadcasts(self, days: int) -> dict[str, int]:
        """Broadcasts that ended longer ago than ``days`` and of which the ledger has nothing any more."""
        (row,) = await self._fetch(_BROADCASTS, timedelta(days=days))
        return {"broadcasts": row[0]}

    async def domains(self) -> dict[str, int]:
        """Domains that their tenants deleted."""
        (row,) = await self._fetch(_DOMAINS, FORGOTTEN)
        return {"domains": row[0]}

    async def privacy_parts(self, days: int) -> dict[str, int]:
        """Files of exports that ended longer ago than ``days``."""
        (row,) = await self._fetch(_PRIVACY_PARTS, timedelta(days=days))
        return {"privacy_parts": row[0]}

    async def privacy_requests(self, days: int) -> dict[str, int]:
        """Exports and erasures that ended longer ago than ``days``."""
        (row,) = await self._fetch(_PRIVACY_REQUESTS, timedelta(days=days))
        return {"privacy_requests": row[0]}

    async def emails(self, days: int) -> dict[str, int]:
        """Emails of which every delivery has ended, all longer ago than ``days``."""
        (row,) = await self._fetch(_EMAILS, timedelta(days=days))
        return {"emails": row["gone_emails"], "deliveries": row["gone_deliveries"]}

    async def contents(self, days: int) -> dict[str, int]:
        """Contents that no email refers to; call it when no more emails are past ``days``."""
        (row,) = await self._fetch(_CONTENTS, timedelta(days=days + 1))
        return {"contents": row[0]}

    async def attachments(self, days: int) -> dict[str, int]:
        """Attachments of emails that have ended; what is scheduled or held keeps its own, however old it is."""
        return {"attachments": await EmailAttachments(self.database).forget(days, self.batch)}

    async def blobs(self, store: BlobStore, days: int) -> dict[str, int]:
        """What no email has referred to for ``days``.

        A blob is taken for missing, then its object goes, then its row: a crash in between leaves nothing that the
        next run does not find.

        Raises:
            BlobsDown: an object could not be deleted; its row stays.
        """
        rows = EmailAttachments(self.database)
        doomed = await rows.doom(days, self.batch)
        for digest in doomed:
            async with rows.condemned(digest, days) as unused:
                if unused:
                    await store.delete(digest.hex())
        return {"blobs": len(doomed)}

    async def metrics(self, days: int) -> dict[str, int]:
        """Counters of what became of mail."""
        (row,) = await self._fetch(_METRICS, timedelta(days=days))
        return {"metrics": row[0]}

    async def api_logs(self, days: int) -> dict[str, int]:
        """Calls of the API."""
        (row,) = await self._fetch(_API_LOGS, timedelta(days=days))
        return {"api_logs": row[0]}

    async def stats(self, days: int) -> dict[str, int]:
        """Counts per minute."""
        (row,) = await self._fetch(_STATS, timedelta(days=days))
        return {"stats": row[0]}

    async def _fetch(self, sql: str, age: timedelta) -> list[Any]:
        return await self.database.fetch(sql, age, self.batch, within=WITHIN)
