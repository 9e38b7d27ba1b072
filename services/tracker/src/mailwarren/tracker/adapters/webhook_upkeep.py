"""What is done about webhooks now and then: endpoints given up, events given up, old rows forgotten, a look at all."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.webhooks import EventType
from mailwarren.tracker.adapters.webhook_outbox import LIVE

if TYPE_CHECKING:
    from asyncpg import Connection, Record

AT_ONCE = 1000
"""Rows in one transaction."""

# Evidence is a failure that late: an endpoint of which nothing was wanted for days is not to blame for the days.
_GIVE_UP = f"""
UPDATE webhook_health x SET disabled_at = now(), reason = $2
FROM webhooks w JOIN webhook_health h ON h.tenant = w.tenant AND h.endpoint = w.id
WHERE x.tenant = w.tenant AND x.endpoint = w.id AND {LIVE} AND x.failing_since IS NOT NULL
  AND x.last_failure_at > greatest(x.failing_since, w.enabled_at) + $1 * interval '1 second'
RETURNING w.tenant, w.id, w.endpoint, x.reason
"""  # noqa: S608 - a constant

_GONE = f"""
UPDATE webhook_health x SET disabled_at = now(), reason = $3
FROM unnest($1::uuid[], $2::uuid[]) AS t (tenant, endpoint)
JOIN webhooks w ON w.tenant = t.tenant AND w.id = t.endpoint
JOIN webhook_health h ON h.tenant = w.tenant AND h.endpoint = w.id
WHERE x.tenant = w.tenant AND x.endpoint = w.id AND {LIVE}
RETURNING w.tenant, w.id, w.endpoint, x.reason
"""  # noqa: S608 - a constant
GONE = "The receiver answered 410: there is no such endpoint any more."

_TELL_OTHERS = f"""
INSERT INTO webhook_deliveries (tenant, endpoint, id, kind, at, data)
SELECT w.tenant, w.id, $1::uuid, $2::text, now(),
  jsonb_build_object('id', $3::text, 'endpoint', $4::text, 'reason', $5::text)
FROM webhooks w LEFT JOIN webhook_health h ON h.tenant = w.tenant AND h.endpoint = w.id
WHERE w.tenant = $6 AND w.id <> $7 AND $2::text = ANY(w.events) AND {LIVE}
"""  # noqa: S608 - a constant

_EXPIRE = """
WITH old AS (
  SELECT tenant, endpoint, id FROM webhook_deliveries
  WHERE created_at < now() - $1 * interval '1 second' AND due_at IS NOT NULL
  ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
), done AS (
  UPDATE webhook_deliveries w SET state = 'failed', due_at = NULL, claim = NULL, ended_at = now()
  FROM old WHERE w.tenant = old.tenant AND w.endpoint = old.endpoint AND w.id = old.id RETURNING 1
) SELECT count(*) FROM done
"""

_FORGET = """
WITH old AS (
  DELETE FROM webhook_deliveries WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM webhook_deliveries
    WHERE created_at < now() - $1 * interval '1 day' AND due_at IS NULL
    ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
  )) RETURNING tenant, endpoint, id
), tries AS (
  DELETE FROM webhook_attempts a USING old
  WHERE a.tenant = old.tenant AND a.endpoint = old.endpoint AND a.event = old.id
) SELECT count(*) FROM old
"""

_FORGET_HEALTH = """
DELETE FROM webhook_health h
WHERE NOT EXISTS (SELECT FROM webhooks w WHERE w.tenant = h.tenant AND w.id = h.endpoint)
"""

# What is claimed is due later, and so is what waits for its next try.
_LOOK = f"""
SELECT w.id, {LIVE} AS live, h.failing_since IS NOT NULL AS failing, coalesce(d.waiting, 0) AS waiting, d.late
FROM webhooks w
LEFT JOIN webhook_health h ON h.tenant = w.tenant AND h.endpoint = w.id
LEFT JOIN (
  SELECT tenant, endpoint, count(*) AS waiting, extract(epoch FROM now() - min(due_at))::float8 AS late
  FROM webhook_deliveries WHERE due_at IS NOT NULL GROUP BY tenant, endpoint
) d ON d.tenant = w.tenant AND d.endpoint = w.id
"""  # noqa: S608 - a constant


class GivenUp(NamedTuple):
    """An endpoint that is told nothing any more, until its tenant enables it again."""

    tenant: UUID
    id: UUID
    url: str
    reason: str


class Look(NamedTuple):
    """The webhooks of all tenants, by what they are: ``live``, ``failing`` or ``disabled``."""

    endpoints: dict[str, int]
    waiting: dict[str, int]
    """Events without an end."""
    late: dict[str, float]
    """Seconds since the event that waits longest was due."""


async def give_up(connection: "Connection[Record]", after: float) -> list[GivenUp]:
    """Disable endpoints that have done nothing but fail for ``after`` seconds, and tell the tenants' others."""
    reason = f"Nothing has come through for {after / 86400:g} days."
    async with connection.transaction():
        return await _given_up(connection, await connection.fetch(_GIVE_UP, after, reason))


async def give_up_gone(connection: "Connection[Record]", which: Collection[tuple[UUID, UUID]]) -> list[GivenUp]:
    """Disable these endpoints (tenant and id), which say so themselves; inside of a transaction.

    Returns:
        Those that were not disabled before.
    """
    tenants, idents = [tenant for tenant, _ in which], [ident for _, ident in which]
    return await _given_up(connection, await connection.fetch(_GONE, tenants, idents, GONE))


async def _given_up(connection: "Connection[Record]", rows: "Iterable[Record]") -> list[GivenUp]:
    found = [GivenUp(*row) for row in rows]
    for one in found:
        kind = EventType.WEBHOOK_DISABLED.value
        await connection.execute(_TELL_OTHERS, new_id(), kind, str(one.id), one.url, one.reason, one.tenant, one.id)
    return found


async def expire(connection: "Connection[Record]", after: float) -> int:
    """End up to :data:`AT_ONCE` events that have waited for ``after`` seconds; how many those were."""
    return int(await connection.fetchval(_EXPIRE, after, AT_ONCE))


async def forget(connection: "Connection[Record]", days: int) -> int:
    """Delete up to :data:`AT_ONCE` events that ended and are older than that, with their tries."""
    return int(await connection.fetchval(_FORGET, days, AT_ONCE))


async def forget_health(connection: "Connection[Record]") -> None:
    """Delete what is known of endpoints that are gone."""
    await connection.execute(_FORGET_HEALTH)


async def look(connection: "Connection[Record]") -> Look:
    """How many there are, and what waits for them."""
    kinds = ("live", "failing", "disabled")
    found = Look(dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0.0))
    for _, live, failing, waiting, late in await connection.fetch(_LOOK):
        kind = "disabled" if not live else "failing" if failing else "live"
        found.endpoints[kind] += 1
        found.waiting[kind] += waiting
        found.late[kind] = max(found.late[kind], late or 0.0)
    return found
