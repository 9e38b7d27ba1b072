"""Webhooks in Postgres: ingest's own table, and what the tracker wrote about them."""

import secrets
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.webhooks import SECRET_OCTETS, secret_text
from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.keyset import fetch_page
from mailwarren.ingest.domain.cursor import Page
from mailwarren.ingest.domain.webhooks import BOTH_SIGN, MAX_WEBHOOKS
from mailwarren.runtime.vault import Unreadable, Vault
from mailwarren.store.states import WebhookStatus

_SELECT = """
SELECT w.id, w.endpoint, w.events, w.secret, w.created_at,
  w.status = 'enabled' AND (h.disabled_at IS NULL OR h.disabled_at < w.enabled_at) AS live,
  CASE WHEN h.disabled_at >= w.enabled_at THEN h.reason END AS reason
FROM webhooks w LEFT JOIN webhook_health h ON h.tenant = w.tenant AND h.endpoint = w.id
WHERE w.tenant = $1
"""
_INSERT = """
INSERT INTO webhooks (tenant, id, endpoint, events, status, secret, enabled_at, created_at, updated_at)
SELECT $1, $2, $3, $4, 'enabled', $5, now(), now(), now()
WHERE (SELECT count(*) FROM webhooks WHERE tenant = $1) < $6
RETURNING id
"""
_UPDATE = """
UPDATE webhooks SET endpoint = coalesce($3, endpoint), events = coalesce($4, events), status = coalesce($5, status),
  enabled_at = CASE WHEN $5 = 'enabled' THEN now() ELSE enabled_at END, updated_at = now()
WHERE tenant = $1 AND id = $2 RETURNING id
"""
_ROTATE = """
UPDATE webhooks SET previous_secret = secret, previous_until = now() + $4 * interval '1 second', secret = $3,
  updated_at = now()
WHERE tenant = $1 AND id = $2 RETURNING id
"""
_DELETE = "DELETE FROM webhooks WHERE tenant = $1 AND id = $2 RETURNING id"
_EVENTS = """
SELECT d.id, d.kind, d.at, d.state FROM webhook_deliveries d WHERE d.tenant = $1 AND d.endpoint = $2
"""
_EVENT = """
SELECT d.id, d.kind, d.at, d.state, d.due_at, d.data, d.email_id, e.message_id, e.created_at AS mail_at, e.sender,
  e.subject, e.tags, e.variables, c.syntax
FROM webhook_deliveries d
LEFT JOIN emails e ON e.id = d.email_id AND e.tenant = d.tenant
LEFT JOIN contents c ON c.digest = e.content
WHERE d.tenant = $1 AND d.endpoint = $2 AND d.id = $3
"""
_ATTEMPTS = """
SELECT a.id, a.status, a.response, a.sent_at FROM webhook_attempts a
WHERE a.tenant = $1 AND a.endpoint = $2 AND a.event = $3
"""


class Webhooks:
    """The webhooks of all tenants. Every method may raise ``DatabaseDown``; another tenant's webhook is none.

    Args:
        database: where they are.
        vault: encrypts their secrets; None where there are no keys, and then none can be made.
    """

    def __init__(self, database: Database, vault: Vault | None) -> None:
        self._database = database
        self._vault = vault

    @property
    def possible(self) -> bool:
        """Whether secrets can be kept here."""
        return self._vault is not None

    async def create(self, tenant: UUID, endpoint: str, events: Sequence[str]) -> tuple[UUID, str] | None:
        """Make one: its id and its secret; None when the tenant has as many as it may."""
        secret, closed = self._new_secret()
        rows = await self._database.fetch(_INSERT, tenant, new_id(), endpoint, list(events), closed, MAX_WEBHOOKS)
        return (UUID(str(rows[0]["id"])), secret) if rows else None

    async def get(self, tenant: UUID, ident: UUID) -> Any:
        """A webhook's row, or None."""
        return await self._database.fetchrow(f"{_SELECT} AND w.id = $2", tenant, ident)

    async def page(self, tenant: UUID, page: Page) -> list[Any]:
        """Rows of a page in reading order."""
        return await fetch_page(self._database, _SELECT, "w.id", page, tenant)

    async def update(
        self,
        tenant: UUID,
        ident: UUID,
        endpoint: str | None,
        events: Sequence[str] | None,
        status: WebhookStatus | None,
    ) -> bool:
        """Change what is not None; whether there was such a webhook."""
        values = endpoint, None if events is None else list(events), None if status is None else status.value
        return bool(await self._database.fetch(_UPDATE, tenant, ident, *values))

    async def rotate(self, tenant: UUID, ident: UUID) -> str | None:
        """A new secret, with which the one before is in force for a day; None when there is no such webhook."""
        secret, closed = self._new_secret()
        return secret if await self._database.fetch(_ROTATE, tenant, ident, closed, BOTH_SIGN) else None

    async def delete(self, tenant: UUID, ident: UUID) -> bool:
        """Forget it; whether there was such a webhook. What it was told is forgotten with its time."""
        return bool(await self._database.fetch(_DELETE, tenant, ident))

    async def events(self, tenant: UUID, ident: UUID, page: Page) -> list[Any]:
        """Rows of a page of what it was told or will be, in reading order."""
        return await fetch_page(self._database, _EVENTS, "d.id", page, tenant, ident)

    async def event(self, tenant: UUID, ident: UUID, event: UUID) -> Any:
        """A row with what its payload is made of, or None."""
        return await self._database.fetchrow(_EVENT, tenant, ident, event)

    async def attempts(self, tenant: UUID, ident: UUID, event: UUID, page: Page) -> list[Any]:
        """Rows of a page of the tries of one event, in reading order."""
        return await fetch_page(self._database, _ATTEMPTS, "a.id", page, tenant, ident, event)

    async def replay(self, tenant: UUID, ident: UUID, event: UUID) -> bool:
        """Have it told once more; whether there is such an event."""
        row = await self._database.fetchrow("SELECT replay_webhook($1, $2, $3) AS found", tenant, ident, event)
        return bool(row["found"])

    def secret(self, closed: bytes) -> str | None:
        """A secret as people keep it; None when no key here reads it."""
        if self._vault is None:
            return None
        try:
            return secret_text(self._vault.open(closed))
        except Unreadable:
            return None

    def _new_secret(self) -> tuple[str, bytes]:
        """A secret as people keep it, and as it is stored."""
        if self._vault is None:
            raise RuntimeError("ask whether webhooks are possible first")
        key = secrets.token_bytes(SECRET_OCTETS)
        return secret_text(key), self._vault.close(key)
