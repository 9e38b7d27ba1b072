"""Parcels from the accepted queues: what they say (contents) and what was asked for (emails)."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from mailwarren.contracts.parcel import Content, Parcel
from mailwarren.runtime.traceparent import read_traceparent, trace_id_of
from mailwarren.tracker.adapters.rows import Row, array_text, columns, json_text

if TYPE_CHECKING:
    from asyncpg import Connection, Record

EARLY_CANCELS = 0x6D77_6361_6E63_656C
"""Advisory lock key ("mwcancel"): shared by whoever inserts emails, exclusive for a cancel whose email is missing."""

# Before the insert: a content that retention is just deleting is gone, or kept, when the insert looks for it.
_SEEN_AGAIN = """
WITH stale AS (
  SELECT digest FROM contents WHERE digest = ANY($1::bytea[]) AND last_seen < now() - interval '1 day'
  ORDER BY digest FOR UPDATE
)
UPDATE contents SET last_seen = now() FROM stale WHERE contents.digest = stale.digest
"""

_CONTENTS = """
INSERT INTO contents (digest, tenant, sender, subject, html, text, headers, syntax, first_seen)
SELECT digest, tenant, sender, subject, html, text, headers::jsonb, syntax, to_timestamp(first_seen)
FROM unnest($1::bytea[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::float8[])
  AS t (digest, tenant, sender, subject, html, text, headers, syntax, first_seen)
ORDER BY digest
ON CONFLICT DO NOTHING
"""

_EMAILS = """
INSERT INTO emails (id, tenant, created_at, request_id, lane, partition, content, sender, subject, "to", cc, bcc,
                    reply_to, tags, metadata, variables, message_id, expires_at, on_unknown, trace_id,
                    cancel_requested_at)
SELECT t.id, t.tenant, to_timestamp(t.created_at), t.request_id, t.lane, t.partition, t.content, t.sender, t.subject,
       t.to_::text[], t.cc::text[], t.bcc::text[], t.reply_to::text[], t.tags::jsonb, t.metadata::jsonb,
       t.variables::jsonb, t.message_id, to_timestamp(t.expires_at), t.on_unknown, t.trace_id, c.at
FROM unnest($1::uuid[], $2::uuid[], $3::float8[], $4::uuid[], $5::text[], $6::int2[], $7::bytea[], $8::text[],
            $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
            $17::text[], $18::float8[], $19::text[], $20::uuid[])
  AS t (id, tenant, created_at, request_id, lane, partition, content, sender, subject, to_, cc, bcc, reply_to, tags,
        metadata, variables, message_id, expires_at, on_unknown, trace_id)
LEFT JOIN cancels c ON c.email_id = t.id AND c.tenant = t.tenant
ORDER BY t.id
ON CONFLICT DO NOTHING
"""

_canonical = msgspec.json.Encoder(order="deterministic")


def digest_of(tenant: UUID, content: Content) -> bytes:
    """SHA-256 of what the mail says. The tenant is part of it, so that no row belongs to two."""
    said = (
        tenant, content.sender, content.subject, content.html, content.text, content.headers, content.syntax,
    )  # fmt: skip
    return hashlib.sha256(_canonical.encode(said)).digest()


async def write_emails(connection: "Connection[Record]", parcels: Sequence[Parcel]) -> None:
    """Insert the contents and emails that the parcels bring, unless they are there."""
    await connection.execute("SELECT pg_advisory_xact_lock_shared($1)", EARLY_CANCELS)
    digests = [digest_of(parcel.tenant, parcel.content) for parcel in parcels]
    await connection.execute(_SEEN_AGAIN, sorted(set(digests)))
    await connection.execute(_CONTENTS, *columns(_contents(parcels, digests), 9))
    await connection.execute(_EMAILS, *columns(_emails(parcels, digests), 20))


def _contents(parcels: Sequence[Parcel], digests: Sequence[bytes]) -> Iterable[Row]:
    return {
        digest: (
            digest,
            parcel.tenant,
            parcel.content.sender,
            parcel.content.subject,
            parcel.content.html,
            parcel.content.text,
            json_text(parcel.content.headers),
            parcel.content.syntax,
            parcel.accepted_at,
        )
        for parcel, digest in zip(parcels, digests, strict=True)
    }.values()


def _emails(parcels: Sequence[Parcel], digests: Sequence[bytes]) -> Iterable[Row]:
    rows: dict[UUID, Row] = {}
    for parcel, digest in zip(parcels, digests, strict=True):
        content = parcel.content
        to = array_text(content.to) if content.to else None
        cc, bcc, reply_to = array_text(content.cc), array_text(content.bcc), array_text(content.reply_to)
        tags = json_text(content.tags)
        trace_id = _trace_id(parcel)
        for delivery in parcel.deliveries:
            rows[delivery.email_id] = (
                delivery.email_id,
                parcel.tenant,
                parcel.accepted_at if parcel.created_at is None else parcel.created_at,
                parcel.request_id,
                parcel.lane,
                parcel.partition,
                digest,
                content.sender,
                content.subject,
                to or array_text((delivery.mailbox or delivery.to,)),
                cc,
                bcc,
                reply_to,
                tags,
                json_text(delivery.metadata) if delivery.metadata else "{}",
                json_text(delivery.variables) if delivery.variables else None,
                delivery.message_id,
                parcel.expires_at,
                parcel.on_unknown,
                trace_id,
            )
    return rows.values()


def _trace_id(parcel: Parcel) -> UUID | None:
    # What is no traceparent is no reason to refuse a mail.
    trace_id = trace_id_of(read_traceparent(parcel.trace))
    return UUID(trace_id) if trace_id else None
