"""``webhook_deliveries`` as a queue: claimed by whoever has room, tried, and written down.

A claim is a lease: the row is due again when it has run out, so that a process which dies loses nothing. What a claim
that was lost reports is not written: somebody else tries the event by then.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.payloads import stored_json, stored_mail_fields
from mailwarren.store.states import WebhookState
from mailwarren.tracker.adapters.rows import Row, columns, moment
from mailwarren.tracker.adapters.webhook_outbox import LIVE
from mailwarren.tracker.adapters.webhook_upkeep import GivenUp, give_up_gone

if TYPE_CHECKING:
    from asyncpg import Connection, Record

_ENDPOINTS = f"""
SELECT w.tenant, w.id, w.endpoint, w.secret,
  CASE WHEN w.previous_until > now() THEN w.previous_secret END AS previous
FROM webhooks w LEFT JOIN webhook_health h ON h.tenant = w.tenant AND h.endpoint = w.id
WHERE {LIVE}
"""  # noqa: S608 - a constant

# The lateral query takes the index of one endpoint after another: ten thousand events of one are ten thousand rows
# that are not looked at. Nobody waits for rows that another process is claiming.
_CLAIM = """
WITH due AS MATERIALIZED (
  SELECT d.* FROM unnest($1::uuid[], $2::uuid[], $3::int4[]) AS lane (tenant, endpoint, room)
  CROSS JOIN LATERAL (
    SELECT q.tenant, q.endpoint, q.id FROM webhook_deliveries q
    WHERE q.tenant = lane.tenant AND q.endpoint = lane.endpoint AND q.due_at <= now()
    ORDER BY q.due_at, q.id LIMIT lane.room FOR UPDATE SKIP LOCKED
  ) d
  LIMIT $4
), taken AS (
  UPDATE webhook_deliveries w SET due_at = now() + $5 * interval '1 second', claim = $6
  FROM due WHERE w.tenant = due.tenant AND w.endpoint = due.endpoint AND w.id = due.id
  RETURNING w.tenant, w.endpoint, w.id, w.kind, w.at, w.created_at, w.attempts, w.data, w.email_id,
    extract(epoch FROM now() - w.created_at)::float8 AS age
)
SELECT t.*, e.message_id, e.created_at AS mail_at, e.sender, e.subject, e.tags, e.variables, e.trace_id, c.syntax
FROM taken t
LEFT JOIN emails e ON e.id = t.email_id AND e.tenant = t.tenant
LEFT JOIN contents c ON c.digest = e.content
ORDER BY t.id
"""

_RESULTS = """
UPDATE webhook_deliveries w
SET state = t.state, attempts = t.attempts, claim = NULL, due_at = now() + t.wait * interval '1 second',
  ended_at = CASE WHEN t.wait IS NULL THEN now() END
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::int2[], $7::float8[])
  AS t (tenant, endpoint, id, claim, state, attempts, wait)
WHERE w.tenant = t.tenant AND w.endpoint = t.endpoint AND w.id = t.id AND w.claim = t.claim
"""

_ATTEMPTS = """
INSERT INTO webhook_attempts (tenant, endpoint, event, id, sent_at, status, response, duration)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::timestamptz[], $6::int2[], $7::text[],
                     $8::float8[])
ON CONFLICT DO NOTHING
"""

# In one order: other processes write the same rows.
_WELL = """
INSERT INTO webhook_health AS h (tenant, endpoint, last_success_at)
SELECT tenant, endpoint, now() FROM unnest($1::uuid[], $2::uuid[]) AS t (tenant, endpoint) ORDER BY tenant, endpoint
ON CONFLICT (tenant, endpoint) DO UPDATE SET failing_since = NULL, last_success_at = now()
WHERE h.failing_since IS NOT NULL OR h.last_success_at IS NULL OR h.last_success_at < now() - interval '10 seconds'
"""
_ILL = """
INSERT INTO webhook_health AS h (tenant, endpoint, failing_since, last_failure_at)
SELECT tenant, endpoint, now(), now() FROM unnest($1::uuid[], $2::uuid[]) AS t (tenant, endpoint)
ORDER BY tenant, endpoint
ON CONFLICT (tenant, endpoint) DO UPDATE
  SET failing_since = coalesce(h.failing_since, now()), last_failure_at = now()
"""


class Endpoint(NamedTuple):
    """Where events go; the secrets as they are stored, the one in force first."""

    tenant: UUID
    id: UUID
    url: str
    secrets: tuple[bytes, ...]


class Claimed(NamedTuple):
    """An event that is ours to try until the lease is over."""

    tenant: UUID
    endpoint: UUID
    id: UUID
    claim: UUID
    kind: str
    at: datetime
    age: float
    """Seconds since it was written."""
    attempts: int
    """Tries so far."""
    data: dict[str, Any]
    mail: dict[str, Any] | None
    """What its email says; None for an event of no email, or of one whose acceptance has not been recorded yet."""
    awaited: bool
    """The second of these."""
    trace_id: UUID | None


class Tried(NamedTuple):
    """A try."""

    id: UUID
    at: float
    status: int
    response: str
    duration: float


class Result(NamedTuple):
    """What became of a claimed event. ``tried`` is None when it was not tried after all."""

    of: Claimed
    state: WebhookState
    attempts: int
    wait: float | None
    tried: Tried | None
    success: bool = False
    gone: bool = False


async def endpoints(connection: "Connection[Record]") -> list[Endpoint]:
    """All that are enabled."""
    return [
        Endpoint(tenant, ident, url, (secret,) if previous is None else (secret, previous))
        for tenant, ident, url, secret, previous in await connection.fetch(_ENDPOINTS)
    ]


async def claim(
    connection: "Connection[Record]", rooms: Mapping[tuple[UUID, UUID], int], at_most: int, lease: float
) -> list[Claimed]:
    """Take what is due, so many events of each endpoint (its tenant and id), and ``at_most`` of all.

    Args:
        connection: outside of a transaction.
        rooms: in the order in which they are served.
        at_most: events.
        lease: seconds after which they are due again.
    """
    ident = new_id()
    lanes = columns(((*endpoint, room) for endpoint, room in rooms.items()), 3)
    rows = await connection.fetch(_CLAIM, *lanes, at_most, lease, ident)
    return [_claimed(row, ident) for row in rows]


async def write_results(connection: "Connection[Record]", results: Sequence[Result]) -> list[GivenUp]:
    """Write what became of events, in one transaction. To write it again changes nothing.

    Returns:
        Endpoints that are disabled by it.
    """
    rows = [
        (one.of.tenant, one.of.endpoint, one.of.id, one.of.claim, one.state, one.attempts, one.wait) for one in results
    ]
    tries: list[Row] = []
    well: set[tuple[UUID, UUID]] = set()
    ill: set[tuple[UUID, UUID]] = set()
    gone: set[tuple[UUID, UUID]] = set()
    for one in results:
        if one.tried is None:
            continue
        key = one.of.tenant, one.of.endpoint
        ident, at, *rest = one.tried
        tries.append((*key, one.of.id, ident, moment(at), *rest))
        (well if one.success else ill).add(key)
        if one.gone:
            gone.add(key)
    async with connection.transaction():
        await connection.execute(_RESULTS, *columns(rows, 7))
        if tries:
            await connection.execute(_ATTEMPTS, *columns(tries, 8))
        if well:
            await connection.execute(_WELL, *columns(well, 2))
        if ill - well:
            await connection.execute(_ILL, *columns(ill - well, 2))
        return await give_up_gone(connection, gone) if gone else []


def _claimed(row: "Record", ident: UUID) -> Claimed:
    mail = None if row["message_id"] is None else stored_mail_fields(row)
    return Claimed(
        tenant=row["tenant"],
        endpoint=row["endpoint"],
        id=row["id"],
        claim=ident,
        kind=row["kind"],
        at=row["at"],
        age=row["age"],
        attempts=row["attempts"],
        data=stored_json(row["data"]),
        mail=mail,
        awaited=row["email_id"] is not None and mail is None,
        trace_id=row["trace_id"],
    )
