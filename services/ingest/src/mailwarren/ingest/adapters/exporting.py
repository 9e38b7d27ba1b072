"""What is stored of an address, read page by page: a query for each file of an export.

A query has the tenant for $1, the key of the address for $2, the pattern that finds it in texts for $3, the rows to
look at for $4, and from $5 on the place behind which they stand. Its rows have their place, and a line of JSON where
the row is about the address; a row without one was only looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from mailwarren.ingest.domain.privacy import Whose
from mailwarren.ingest.domain.scheduled import kept

WITHIN = 30.0
"""Seconds for a page."""
_ZERO = "00000000-0000-0000-0000-000000000000"
Place = list[Any]
"""Behind which row to go on; as JSON has it."""


@dataclass(frozen=True, slots=True)
class Source:
    """A query, the place before its first row, and how many rows of it are looked at once."""

    sql: str
    first: tuple[str | int, ...]
    at_once: int


_CONTACTS = """
SELECT c.id AS p1, jsonb_build_object(
  'id', c.id, 'email', c.email, 'first_name', c.first_name, 'last_name', c.last_name, 'unsubscribed', c.unsubscribed,
  'created_at', c.created_at, 'updated_at', c.updated_at,
  'properties', (SELECT coalesce(jsonb_object_agg(p.key, v.value), '{}')
    FROM jsonb_each(c.properties) AS v(place, value)
    JOIN contact_properties p ON p.tenant = c.tenant AND replace(p.id::text, '-', '') = v.place),
  'segments', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', s.id, 'name', s.name, 'since', m.created_at)), '[]')
    FROM contact_segments m JOIN segments s ON s.tenant = m.tenant AND s.id = m.segment
    WHERE m.tenant = c.tenant AND m.contact = c.id),
  'topics', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', t.id, 'name', t.name, 'subscription', h.subscription,
      'since', h.updated_at)), '[]')
    FROM contact_topics h JOIN topics t ON t.tenant = h.tenant AND t.id = h.topic
    WHERE h.tenant = c.tenant AND h.contact = c.id)
)::text AS line
FROM contacts c WHERE c.tenant = $1 AND c.email_key = $2 AND $3::text IS NOT NULL AND c.id > $5::uuid
ORDER BY c.id LIMIT $4
"""
_SUPPRESSIONS = """
SELECT s.id AS p1, jsonb_build_object(
  'id', s.id, 'email', s.address, 'origin', s.origin, 'reason', s.reason, 'email_id', s.email_id,
  'created_at', s.created_at, 'expires_at', s.expires_at
)::text AS line
FROM suppressions s WHERE s.tenant = $1 AND s.address = $2 AND $3::text IS NOT NULL AND s.id > $5::uuid
ORDER BY s.id LIMIT $4
"""
_UNSUBSCRIBES = """
SELECT u.id AS p1, jsonb_build_object(
  'id', u.id, 'email', u.address, 'topic', t.name, 'reason', u.reason, 'source', u.source, 'created_at', u.created_at
)::text AS line
FROM unsubscribes u LEFT JOIN topics t ON t.tenant = u.tenant AND t.id = u.topic
WHERE u.tenant = $1 AND u.address = $2 AND $3::text IS NOT NULL AND u.id > $5::uuid
ORDER BY u.id LIMIT $4
"""
# The other recipients of an email are not this person's.
_EMAILS = """
SELECT d.id AS p1, jsonb_build_object(
  'email_id', d.email_id, 'to', d.address, 'role', d.role, 'state', d.state, 'attempts', d.attempt,
  'accepted_at', d.accepted_at, 'updated_at', d.updated_at, 'ended_at', d.ended_at,
  'reply_code', d.reply_code, 'reply_text', d.reply_text, 'host', d.host, 'broadcast', b.name,
  'created_at', e.created_at, 'from', e.sender, 'reply_to', e.reply_to, 'subject', e.subject, 'tags', e.tags,
  'metadata', e.metadata, 'variables', e.variables, 'message_id', e.message_id,
  'html', c.html, 'text', c.text, 'syntax', c.syntax,
  'attachments', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', a.id, 'filename', a.filename, 'content_type',
      a.content_type, 'size', a.size) ORDER BY a.position), '[]')
    FROM email_attachments a WHERE a.tenant = d.tenant AND a.email_id = d.email_id),
  'events', (SELECT coalesce(jsonb_agg(jsonb_build_object('at', v.at, 'kind', v.kind, 'attempt', v.attempt,
      'reply_code', v.reply_code, 'reply_text', v.reply_text, 'host', v.host, 'reason', v.reason,
      'link', v.link, 'user_agent', v.agent, 'ip', v.ip)
      ORDER BY v.at, v.id), '[]')
    FROM events v WHERE v.tenant = d.tenant AND v.email_id = d.email_id AND v.delivery_id = d.id)
)::text AS line
FROM deliveries d LEFT JOIN emails e ON e.id = d.email_id LEFT JOIN contents c ON c.digest = e.content
LEFT JOIN broadcasts b ON b.tenant = d.tenant AND b.id = d.broadcast
WHERE d.tenant = $1 AND lower(d.address) = lower($2::text) AND lower(d.address COLLATE "C") = $2
  AND $3::text IS NOT NULL AND d.id > $5::uuid
ORDER BY d.id LIMIT $4
"""
_SCHEDULED = """
SELECT s.id AS p1, s.due_at, s.state, s.created_at, s.mail, c.body
FROM scheduled s LEFT JOIN scheduled_contents c ON c.id = s.content
WHERE s.tenant = $1 AND s.mail IS NOT NULL AND $2::text IS NOT NULL AND $3::text IS NOT NULL AND s.id > $5::uuid
ORDER BY s.id LIMIT $4
"""
_IMPORT_ERRORS = """
SELECT r.import_id AS p1, r.number AS p2, CASE WHEN r.cells::text ~* $3 OR r.error ~* $3 THEN jsonb_build_object(
  'import_id', r.import_id, 'line', r.line, 'cells', r.cells, 'error', r.error)::text END AS line
FROM contact_import_errors r
WHERE r.tenant = $1 AND $2::text IS NOT NULL AND (r.import_id, r.number) > ($5::uuid, $6::bigint)
ORDER BY r.import_id, r.number LIMIT $4
"""
_WEBHOOKS = """
SELECT w.endpoint AS p1, w.id AS p2, CASE WHEN w.data::text ~* $3 THEN jsonb_build_object(
  'endpoint', h.endpoint, 'id', w.id, 'type', w.kind, 'at', w.at, 'data', w.data, 'email_id', w.email_id,
  'state', w.state)::text END AS line
FROM webhook_deliveries w LEFT JOIN webhooks h ON h.tenant = w.tenant AND h.id = w.endpoint
WHERE w.tenant = $1 AND $2::text IS NOT NULL AND (w.endpoint, w.id) > ($5::uuid, $6::uuid)
ORDER BY w.endpoint, w.id LIMIT $4
"""
SOURCES: Mapping[str, Source] = {
    "contacts": Source(_CONTACTS, (_ZERO,), 100),
    "suppressions": Source(_SUPPRESSIONS, (_ZERO,), 100),
    "unsubscribes": Source(_UNSUBSCRIBES, (_ZERO,), 1000),
    "emails": Source(_EMAILS, (_ZERO,), 100),
    "scheduled": Source(_SCHEDULED, (_ZERO,), 500),
    "import_errors": Source(_IMPORT_ERRORS, (_ZERO, 0), 5000),
    "webhooks": Source(_WEBHOOKS, (_ZERO, _ZERO), 2000),
}


@dataclass(frozen=True, slots=True)
class Found:
    """Lines of JSON, and the place of the last row that was looked at; None after the last page."""

    lines: list[bytes]
    place: Place | None


async def read_page(connection: Any, whose: Whose, stage: str, place: Place | None) -> Found:
    """A page of what is stored.

    Args:
        connection: to the database.
        whose: the address.
        stage: a key of :data:`SOURCES`.
        place: of the page before; None begins.
    """
    source = SOURCES[stage]
    values = (whose.tenant, whose.address, whose.pattern, source.at_once, *(place or source.first))
    rows = await connection.fetch(source.sql, *values, timeout=WITHIN)
    if stage == "scheduled":
        lines = [line for row in rows if (line := _scheduled(row, whose)) is not None]
    else:
        lines = [row["line"].encode() for row in rows if row["line"] is not None]
    return Found(lines, _place(rows[-1]) if len(rows) == source.at_once else None)


def _place(row: Mapping[str, Any]) -> Place:
    return [value if isinstance(value, int) else str(value) for value in _keys(row)]


def _keys(row: Mapping[str, Any]) -> Sequence[Any]:
    return [row[name] for name in ("p1", "p2") if name in row.keys()]  # noqa: SIM118 - a record's `in` asks for values


def _scheduled(row: Mapping[str, Any], whose: Whose) -> bytes | None:
    mail = kept(row["mail"])
    if not whose.is_in(mail):
        return None
    (mine,) = [one for one in mail.recipients if one.key == whose.address][:1]
    said = {
        "email_id": str(row["p1"]),
        "scheduled_at": row["due_at"],
        "state": row["state"],
        "created_at": row["created_at"],
        "from": mail.content.sender,
        "subject": mail.content.subject,
        "to": mine.mailbox,
        "variables": mine.variables,
        "metadata": mine.metadata,
        "content": msgspec.json.decode(row["body"]) if row["body"] is not None else None,
    }
    return msgspec.json.encode(said)
