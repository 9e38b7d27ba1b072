"""``domains`` and ``domain_keys`` in Postgres. Times are the server's. Private keys come and go encrypted."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.webhooks import EventType
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.keyset import fetch_page
from mailwarren.ingest.adapters.webhook_notices import WebhookNotices
from mailwarren.ingest.domain.cursor import Page
from mailwarren.ingest.domain.dns_records import PRIORITY, Findings, KeyFacts, Purpose, Site, wanted_records
from mailwarren.ingest.domain.domain_checks import Verdict
from mailwarren.ingest.domain.domains import MAX_DOMAINS
from mailwarren.store.states import DomainState, KeyState

_SELECT = """
SELECT tenant, id, name, region, return_path, tls, state, findings, created_at, checked_at, verified_at, failing_since,
       open_tracking, click_tracking, tracking_subdomain, tracks
FROM domains
"""
_LIVE = f"{_SELECT} WHERE tenant = $1 AND deleted_at IS NULL"
_DUE = f"{_SELECT} WHERE deleted_at IS NULL AND next_check_at <= now() ORDER BY next_check_at LIMIT $1"
_KEYS = """
SELECT domain, selector, algorithm, state, public, created_at, seen_at, named_until FROM domain_keys
WHERE tenant = ANY($1::uuid[]) AND domain = ANY($2::uuid[]) ORDER BY state, algorithm DESC, created_at DESC, selector
"""
_INSERT = """
INSERT INTO domains (tenant, id, name, region, return_path, tls, state, findings, created_at, updated_at, next_check_at)
SELECT $1, $2, $3, $4, $5, $6, 'not_started', '{}'::jsonb, now(), clock_timestamp(), now() + interval '1 minute'
WHERE (SELECT count(*) FROM domains WHERE tenant = $1 AND deleted_at IS NULL) < $7
ON CONFLICT (tenant, name) WHERE deleted_at IS NULL DO NOTHING
RETURNING id
"""
_ADD_KEY = """
INSERT INTO domain_keys (tenant, domain, selector, algorithm, state, public, private, created_at)
SELECT $1, $2, $3, $4, $5, $6, $7, now() WHERE NOT EXISTS (
  SELECT FROM domain_keys WHERE tenant = $1 AND domain = $2 AND algorithm = $4 AND state = $5
) RETURNING selector
"""
_LOCK = f"{_LIVE} AND id = $2 FOR UPDATE"
_UPDATE = """
UPDATE domains SET return_path = $3, returns = false, next_check_at = now(), updated_at = clock_timestamp()
WHERE tenant = $1 AND id = $2
"""
_SET_TLS = "UPDATE domains SET tls = $3, updated_at = clock_timestamp() WHERE tenant = $1 AND id = $2"
_TRACK = """
UPDATE domains SET open_tracking = coalesce($3::boolean, open_tracking),
  click_tracking = coalesce($4::boolean, click_tracking),
  tracking_subdomain = CASE WHEN $5::text IS NULL THEN tracking_subdomain ELSE nullif($5, '') END,
  tracks = tracks AND ($5 IS NULL OR tracking_subdomain = $5),
  next_check_at = CASE WHEN $5 IS NULL THEN next_check_at ELSE now() END, updated_at = clock_timestamp()
WHERE tenant = $1 AND id = $2
"""
_SOON = "UPDATE domains SET next_check_at = now() WHERE tenant = $1 AND id = $2"
_LATER = "UPDATE domains SET next_check_at = now() + interval '1 hour' WHERE tenant = $1 AND id = $2"
_DELETE = """
UPDATE domains SET deleted_at = clock_timestamp(), updated_at = clock_timestamp() WHERE tenant = $1 AND id = $2
"""
_CHECKED = """
UPDATE domains SET state = $3, findings = $4, strict = $5, returns = coalesce($6, returns), failing_since = $7,
  next_check_at = $8, tracks = coalesce($9, tracks), checked_at = now(), updated_at = clock_timestamp(),
  verified_at = CASE WHEN $3 = 'verified' THEN coalesce(verified_at, now()) ELSE verified_at END
WHERE tenant = $1 AND id = $2
"""
_ACTIVATE = """
UPDATE domain_keys SET state = 'active', seen_at = now()
WHERE tenant = $1 AND domain = $2 AND selector = $3 AND state = 'next' RETURNING selector
"""
_RETIRE = """
UPDATE domain_keys SET state = 'retired', private = NULL, retired_at = now(), named_until = now() + $5::interval
WHERE tenant = $1 AND domain = $2 AND algorithm = $4 AND state = 'active' AND selector <> $3
"""
_FORGET = "DELETE FROM domain_keys WHERE tenant = $1 AND domain = $2 AND named_until <= now()"
_SIGNING = """
SELECT k.selector, k.algorithm, k.private, d.return_path, d.returns
FROM domains d JOIN domain_keys k ON k.tenant = d.tenant AND k.domain = d.id AND k.state = 'active'
WHERE d.tenant = $1 AND d.name = $2 AND d.deleted_at IS NULL ORDER BY k.algorithm DESC, k.selector
"""
_STATES = """
SELECT state, count(*) AS number, count(*) FILTER (WHERE verified_at IS NOT NULL) AS once
FROM domains WHERE deleted_at IS NULL GROUP BY state
"""


_decoder = msgspec.json.Decoder(Findings)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A domain that is not deleted, with its keys."""

    tenant: UUID
    id: UUID
    name: str
    region: str
    return_path: str
    tls: str
    state: DomainState
    findings: Findings
    created_at: datetime
    checked_at: datetime | None
    verified_at: datetime | None
    failing_since: datetime | None
    open_tracking: bool
    click_tracking: bool
    tracking_subdomain: str | None
    tracks: bool
    keys: tuple[KeyFacts, ...] = ()


class TrackingChange(msgspec.Struct, frozen=True):
    """What a call says of tracking; None leaves it. An empty ``subdomain`` ends the host of its own."""

    opens: bool | None = None
    clicks: bool | None = None
    subdomain: str | None = None


NO_CHANGE = TrackingChange()


class ClosedKey(msgspec.Struct, frozen=True):
    """A new key as it is kept: ``private`` is encrypted."""

    selector: str
    algorithm: str
    state: KeyState
    public: bytes
    private: bytes


class Seen(msgspec.Struct, frozen=True):
    """Keys (selector and algorithm) that sign from now on, and the days for which those before them stay named."""

    keys: tuple[tuple[str, str], ...]
    overlap_days: float


class Domains:
    """The domains of all tenants. Every method may raise ``DatabaseDown``; another tenant's domain is none.

    Args:
        database: where they are.
        site: this system as their records name it, for what webhooks are told.
    """

    def __init__(self, database: Database, site: Site | None = None) -> None:
        self._database = database
        self._site = site or Site()

    async def get(self, tenant: UUID, ident: UUID) -> Row | None:
        """A domain."""
        found = await self._database.fetchrow(f"{_LIVE} AND id = $2", tenant, ident)
        return None if found is None else (await self._with_keys(self._database, [found]))[0]

    async def by_name(self, tenant: UUID, name: str) -> Row | None:
        """A domain by its name."""
        found = await self._database.fetchrow(f"{_LIVE} AND name = $2", tenant, name)
        return None if found is None else (await self._with_keys(self._database, [found]))[0]

    async def page(self, tenant: UUID, page: Page) -> list[Row]:
        """Rows of a page in reading order, without their keys."""
        return [_row(found, ()) for found in await fetch_page(self._database, _LIVE, "id", page, tenant)]

    async def due(self, limit: int) -> list[Row]:
        """Domains whose records are to be looked at now, of all tenants."""
        return await self._with_keys(self._database, await self._database.fetch(_DUE, limit))

    async def create(
        self,
        tenant: UUID,
        name: str,
        region: str,
        return_path: str,
        keys: Sequence[ClosedKey],
        *,
        tls: str,
        tracking: TrackingChange = NO_CHANGE,
    ) -> Row | None:
        """Make one; None when the tenant has it, or as many as it may."""
        async with self._database.connection() as connection, connection.transaction():
            found = await connection.fetchrow(_INSERT, tenant, new_id(), name, region, return_path, tls, MAX_DOMAINS)
            if found is None:
                return None
            await self._add(connection, tenant, found["id"], keys)
            await _track(connection, tenant, found["id"], tracking)
            made = await self._read(connection, tenant, found["id"])
            await self._tell(connection, EventType.DOMAIN_CREATED, made)
            return made

    async def change(
        self,
        tenant: UUID,
        ident: UUID,
        *,
        return_path: str | None,
        tls: str | None,
        tracking: TrackingChange = NO_CHANGE,
    ) -> Row | None:
        """Give it another return path, used once its records are there, other TLS or tracking; None leaves either."""
        async with self._database.connection() as connection, connection.transaction():
            found = await connection.fetchrow(_LOCK, tenant, ident)
            if found is None:
                return None
            if return_path is not None and return_path != found["return_path"]:
                await connection.execute(_UPDATE, tenant, ident, return_path)
            if tls is not None and tls != found["tls"]:
                await connection.execute(_SET_TLS, tenant, ident, tls)
            await _track(connection, tenant, ident, tracking)
            changed = await self._read(connection, tenant, ident)
            await self._tell(connection, EventType.DOMAIN_UPDATED, changed)
            return changed

    async def rotate(self, tenant: UUID, ident: UUID, keys: Sequence[ClosedKey]) -> Row | None:
        """Add keys that wait for their records; one of an algorithm that has such a key already is left out."""
        async with self._database.connection() as connection, connection.transaction():
            if await connection.fetchrow(_LOCK, tenant, ident) is None:
                return None
            await self._add(connection, tenant, ident, keys)
            await connection.execute(_SOON, tenant, ident)
            changed = await self._read(connection, tenant, ident)
            await self._tell(connection, EventType.DOMAIN_UPDATED, changed)
            return changed

    async def delete(self, tenant: UUID, ident: UUID) -> Row | None:
        """Forget it and its keys; as it was, None when there was none."""
        async with self._database.connection() as connection, connection.transaction():
            found = await connection.fetchrow(_LOCK, tenant, ident)
            if found is None:
                return None
            await self._tell(connection, EventType.DOMAIN_DELETED, await self._read(connection, tenant, ident))
            await connection.execute(_DELETE, tenant, ident)
            await connection.execute("DELETE FROM domain_keys WHERE tenant = $1 AND domain = $2", tenant, ident)
            return _row(found, ())

    async def checked(
        self, row: Row, findings: Findings, verdict: Verdict, next_check_at: datetime, seen: Seen
    ) -> Row | None:
        """Write what a look at the records found, unless they are no longer the domain's; the row as it is then."""
        async with self._database.connection() as connection, connection.transaction():
            found = await connection.fetchrow(_LOCK, row.tenant, row.id)
            if found is None:
                return None
            places = ("return_path", "tracking_subdomain")
            if all(found[place] == getattr(row, place) for place in places):
                strict = findings.dmarc is not None and findings.dmarc.strict_dkim
                await connection.execute(
                    _CHECKED, row.tenant, row.id, verdict.state.value, msgspec.json.encode(findings).decode(), strict,
                    verdict.returns, verdict.failing_since, next_check_at, verdict.tracks,
                )  # fmt: skip
            overlap = timedelta(days=seen.overlap_days)
            activated = False
            for selector, algorithm in seen.keys:
                if await connection.fetchrow(_ACTIVATE, row.tenant, row.id, selector):
                    activated = True
                    await connection.execute(_RETIRE, row.tenant, row.id, selector, algorithm, overlap)
            await connection.execute(_FORGET, row.tenant, row.id)
            after = await self._read(connection, row.tenant, row.id)
            # Most looks find what the one before found.
            if activated or after.state is not DomainState(found["state"]):
                await self._tell(connection, EventType.DOMAIN_UPDATED, after)
            return after

    async def put_off(self, row: Row) -> None:
        """Look at its records in an hour."""
        await self._database.fetch(_LATER, row.tenant, row.id)

    async def signing(self, tenant: UUID, name: str) -> list[Any]:
        """The keys that mail of a domain is signed with, still encrypted, and its return path."""
        return await self._database.fetch(_SIGNING, tenant, name)

    async def states(self) -> dict[DomainState, tuple[int, int]]:
        """How many domains there are in each state, and how many of them were verified once."""
        return {DomainState(row["state"]): (row["number"], row["once"]) for row in await self._database.fetch(_STATES)}

    async def _tell(self, connection: Any, kind: EventType, row: Row) -> None:
        notices = WebhookNotices(connection)
        if await notices.wanted(row.tenant, kind):
            await notices.tell(row.tenant, kind, [_told(row, self._site)])

    async def _add(self, connection: Any, tenant: UUID, ident: UUID, keys: Sequence[ClosedKey]) -> None:
        for key in keys:
            await connection.execute(
                _ADD_KEY, tenant, ident, key.selector, key.algorithm, key.state.value, key.public, key.private
            )

    async def _read(self, connection: Any, tenant: UUID, ident: UUID) -> Row:
        found = await connection.fetchrow(f"{_LIVE} AND id = $2", tenant, ident)
        return (await self._with_keys(connection, [found]))[0]

    async def _with_keys(self, runs: Any, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        keys: dict[UUID, list[KeyFacts]] = {row["id"]: [] for row in rows}
        for key in await runs.fetch(_KEYS, list({row["tenant"] for row in rows}), list(keys)) if rows else ():
            keys[key["domain"]].append(
                KeyFacts(
                    selector=key["selector"],
                    algorithm=key["algorithm"],
                    state=KeyState(key["state"]),
                    public=key["public"],
                    created_at=key["created_at"],
                    seen_at=key["seen_at"],
                    named_until=key["named_until"],
                )
            )
        return [_row(row, keys[row["id"]]) for row in rows]


def _told(row: Row, site: Site) -> dict[str, Any]:
    """``data`` of an event, in the SDK's form."""
    known = {(finding.name, finding.type): finding.state for finding in row.findings.records}
    return {
        "id": row.id,
        "name": row.name,
        "status": row.state,
        "created_at": row.created_at,
        "region": row.region,
        "records": [
            {
                "record": (Purpose.SPF if one.purpose is Purpose.BOUNCES else one.purpose).value,
                "name": one.name,
                "type": one.type,
                "ttl": "Auto",
                "status": known.get(one.place, DomainState.NOT_STARTED),
                "value": one.value,
                **({"priority": PRIORITY} if one.type == "MX" else {}),
            }
            for one in wanted_records(row.name, row.return_path, row.keys, site, row.tracking_subdomain)
        ],
    }


async def _track(connection: Any, tenant: UUID, ident: UUID, change: TrackingChange) -> None:
    if change != NO_CHANGE:
        await connection.execute(_TRACK, tenant, ident, change.opens, change.clicks, change.subdomain)


def _row(row: Mapping[str, Any], keys: Sequence[KeyFacts]) -> Row:
    values = {name: row[name] for name in Row.__struct_fields__ if name != "keys"}
    values |= {"tenant": UUID(str(row["tenant"])), "id": UUID(str(row["id"])), "state": DomainState(row["state"])}
    return Row(**values | {"findings": _findings(row["findings"])}, keys=tuple(keys))


def _findings(text: str) -> Findings:
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError:
        # Of another release; the next look writes them anew.
        return Findings()
