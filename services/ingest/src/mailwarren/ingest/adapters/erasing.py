"""Taking an address out of everything that is stored, a batch at a time, each in a transaction of its own.

What was done is not found again, so a batch that is repeated does the rest. Rows of the tracker's are changed by
functions with their owner's rights, as retention deletes them (``docs/adr/0023``).
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from mailwarren.ingest.adapters.erased import block
from mailwarren.ingest.domain.privacy import Whose
from mailwarren.ingest.domain.scheduled import kept
from mailwarren.store.states import ScheduleState

WITHIN = 60.0
"""Seconds for a batch."""
AT_ONCE = 200
"""Deliveries of a batch, each with its events."""
ROWS = 1000
"""Rows of others that are looked through at once."""
SETTLED = timedelta(minutes=1)
"""After which no call that began before the address was blocked is still accepting mail for it."""
PATIENCE = timedelta(hours=50)
"""For mail to the address that is under way: none lives longer than 48 hours."""
_ZERO = "00000000-0000-0000-0000-000000000000"
Place = list[Any]


class NotYet(Exception):
    """The stage cannot go on now; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What a batch did: rows that were about the address, and where the next one goes on; None: the stage is done."""

    number: int
    place: Place | None = None


_CONTACT = "DELETE FROM contacts WHERE tenant = $1 AND email_key = $2 RETURNING 1"
_LISTS = """
WITH a AS (DELETE FROM suppressions WHERE tenant = $1 AND address = $2 RETURNING 1),
  b AS (DELETE FROM unsubscribes WHERE tenant = $1 AND address = $2 RETURNING 1)
SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b) AS number
"""
_WAITS = """
SELECT now() - r.updated_at < $4::interval AS fresh, now() - r.created_at < $5::interval AS patient,
  EXISTS (
    SELECT FROM deliveries d WHERE d.tenant = $1 AND lower(d.address) = lower($2::text) AND d.ended_at IS NULL) AS open
FROM privacy_requests r WHERE r.tenant = $1 AND r.id = $3
"""
_SCHEDULED = """
SELECT s.id, s.state, s.mail, s.lease_until > now() AS busy,
  EXISTS (SELECT FROM emails e WHERE e.id = s.id AND e.tenant = s.tenant) AS recorded
FROM scheduled s WHERE s.tenant = $1 AND s.mail IS NOT NULL AND s.id > $2::uuid ORDER BY s.id LIMIT $3
FOR UPDATE OF s
"""
_UNSCHEDULE = "DELETE FROM scheduled WHERE tenant = $1 AND id = $2"
_REWRITE = "UPDATE scheduled SET mail = $3 WHERE tenant = $1 AND id = $2"
_FILES = "DELETE FROM email_attachments WHERE tenant = $1 AND email_id = ANY($2::uuid[])"
# What the database's locale takes for the same address is erased too: it is looked for in its index.
_MAIL = "SELECT erased, alone FROM erase_mail($1, lower($2::text), $3, $4, $5)"
_IMPORT_ERRORS = """
WITH page AS (
  SELECT import_id, number FROM contact_import_errors
  WHERE tenant = $1 AND (import_id, number) > ($3::uuid, $4::bigint) ORDER BY import_id, number LIMIT $5
), gone AS (
  DELETE FROM contact_import_errors r USING page p
  WHERE r.tenant = $1 AND r.import_id = p.import_id AND r.number = p.number AND (r.cells::text ~* $2 OR r.error ~* $2)
  RETURNING 1
)
SELECT (SELECT count(*) FROM gone) AS number, (SELECT count(*) FROM page) AS seen, l.import_id, l.number AS last
FROM (SELECT import_id, number FROM page ORDER BY import_id DESC, number DESC LIMIT 1) l
"""
_WEBHOOKS = "SELECT seen, erased, last_endpoint, last_id FROM erase_webhooks($1, $2, $3, $4::uuid, $5::uuid, $6)"
_ANSWERS = """
SELECT key, answer FROM idempotency_keys WHERE tenant = $1 AND key > $2 AND answer IS NOT NULL ORDER BY key LIMIT $3
FOR UPDATE
"""
_ANSWER = "UPDATE idempotency_keys SET answer = $3 WHERE tenant = $1 AND key = $2"
_EXPORTS = "DELETE FROM privacy_requests WHERE tenant = $1 AND address = $2 AND kind = 'export' RETURNING 1"
_OLD = """
UPDATE privacy_requests SET address = NULL
WHERE tenant = $1 AND address = $2 AND kind = 'erasure' AND id <> $3 AND ended_at IS NOT NULL
"""


async def _block(connection: Any, whose: Whose, _place: Place | None) -> Erased:
    """First of all: no mail is accepted for it any more. With its contact go memberships and choices."""
    await block(connection, whose.tenant, whose.address, secrets.token_bytes(32))
    gone = await connection.fetch(_CONTACT, whose.tenant, whose.address)
    row = await connection.fetchrow(_LISTS, whose.tenant, whose.address)
    return Erased(len(gone) + row["number"])


async def _wait(connection: Any, whose: Whose, _place: Place | None) -> Erased:
    """What is under way is in the broker with the address, and its events would bring it back."""
    values = (whose.tenant, whose.address, whose.request, SETTLED, PATIENCE)
    row = await connection.fetchrow(_WAITS, *values, timeout=WITHIN)
    if row["fresh"] or (row["open"] and row["patient"]):
        raise NotYet
    return Erased(0)


async def _scheduled(connection: Any, whose: Whose, place: Place | None) -> Erased:
    tenant = whose.tenant
    rows = await connection.fetch(_SCHEDULED, tenant, (place or [_ZERO])[0], ROWS, timeout=WITHIN)
    number = 0
    for row in rows:
        mail = kept(row["mail"])
        if not whose.is_in(mail):
            continue
        released = row["state"] == ScheduleState.RELEASED
        if row["busy"] or (released and not row["recorded"]):
            raise NotYet  # it is being released: it is suppressed there, and read from its row until it is recorded
        number += 1
        rest = whose.left_out(mail)
        if rest is None or released:
            await connection.execute(_UNSCHEDULE, tenant, row["id"])
            if rest is None:
                await connection.execute(_FILES, tenant, [row["id"]])
        else:
            await connection.execute(_REWRITE, tenant, row["id"], msgspec.json.encode(rest))
    return Erased(number, [str(rows[-1]["id"])] if len(rows) == ROWS else None)


async def _emails(connection: Any, whose: Whose, _place: Place | None) -> Erased:
    """What it was sent. The deliveries stay in their states, so that every count stays what it was."""
    values = (whose.tenant, whose.address, whose.pattern, whose.stand_in, AT_ONCE)
    row = await connection.fetchrow(_MAIL, *values, timeout=WITHIN)
    await connection.execute(_FILES, whose.tenant, row["alone"])
    # Those that are replaced are not found again: there is no place to remember.
    return Erased(row["erased"], [] if row["erased"] == AT_ONCE else None)


async def _import_errors(connection: Any, whose: Whose, place: Place | None) -> Erased:
    after = place or [_ZERO, 0]
    row = await connection.fetchrow(_IMPORT_ERRORS, whose.tenant, whose.pattern, *after, ROWS, timeout=WITHIN)
    if row is None:
        return Erased(0)
    return Erased(row["number"], [str(row["import_id"]), row["last"]] if row["seen"] == ROWS else None)


async def _webhooks(connection: Any, whose: Whose, place: Place | None) -> Erased:
    values = (whose.tenant, whose.pattern, whose.stand_in, *(place or [_ZERO, _ZERO]), ROWS)
    row = await connection.fetchrow(_WEBHOOKS, *values, timeout=WITHIN)
    return Erased(row["erased"], [str(row["last_endpoint"]), str(row["last_id"])] if row["seen"] == ROWS else None)


async def _answers(connection: Any, whose: Whose, place: Place | None) -> Erased:
    """Of calls with an Idempotency-Key: those of bulk calls name their recipients."""
    rows = await connection.fetch(_ANSWERS, whose.tenant, (place or [""])[0], ROWS, timeout=WITHIN)
    number = 0
    for row in rows:
        text = row["answer"].decode("utf-8", "surrogateescape")
        if (without := whose.without(text)) != text:
            number += 1
            await connection.execute(
                _ANSWER, whose.tenant, row["key"], without.encode("utf-8", "surrogateescape"), timeout=WITHIN
            )
    return Erased(number, [rows[-1]["key"]] if len(rows) == ROWS else None)


async def _exports(connection: Any, whose: Whose, _place: Place | None) -> Erased:
    gone = await connection.fetch(_EXPORTS, whose.tenant, whose.address)
    await connection.execute(_OLD, whose.tenant, whose.address, whose.request)
    return Erased(len(gone))


Step = Callable[[Any, Whose, Place | None], Awaitable[Erased]]
STEPS: Mapping[str, Step] = {
    "blocked": _block,
    "waited": _wait,
    "scheduled": _scheduled,
    "emails": _emails,
    "import_errors": _import_errors,
    "webhooks": _webhooks,
    "answers": _answers,
    "exports": _exports,
}
"""By the stages of an erasure."""
