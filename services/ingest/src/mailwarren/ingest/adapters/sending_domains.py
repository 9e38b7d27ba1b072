"""Sending domains: all of them in memory, so that mail is accepted, and told what it is signed for, without Postgres.

Every process asks once a second for the rows that changed, deleted ones included; the one that made, changed or
deleted a domain knows it at once. The parcel of a mail says which domain signs it; the keys are the senders' to fetch.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from msgspec.structs import replace

from mailwarren.contracts.ids import partition_of
from mailwarren.contracts.parcel import Content
from mailwarren.contracts.tls import TlsNeed
from mailwarren.contracts.tracking import Tracking
from mailwarren.ingest.adapters.database import Database, DatabaseDown
from mailwarren.ingest.domain.domain_checks import MAY_SEND
from mailwarren.ingest.domain.domains import ENFORCED, SendingDomain, domain_for, envelope_sender, no_tracking
from mailwarren.ingest.domain.parcels import Plan
from mailwarren.ingest.domain.refusal import unavailable, unverified_domain
from mailwarren.ingest.domain.tracking_links import TrackingLinks
from mailwarren.ingest.metrics import record_domains_refreshed
from mailwarren.store.engine import database_trouble
from mailwarren.store.states import DomainState

log = structlog.get_logger()

REFRESH = 1.0
OVERLAP = timedelta(seconds=10)
"""Looked back over at each refresh: a row's time is taken before its transaction is visible."""
_NONE: Mapping[str, SendingDomain] = {}

_SELECT = """
SELECT tenant, id, name, state, return_path, tls, strict, returns, open_tracking, click_tracking, tracking_subdomain,
       tracks, deleted_at, clock_timestamp() AS now
FROM domains
"""
_ALL = f"{_SELECT} WHERE deleted_at IS NULL"
_CHANGED = f"{_SELECT} WHERE updated_at >= $1 ORDER BY updated_at"

Sign = Callable[[Content, str], Content]
"""From a content and the domain of its From address to the same content with what a sender has to know."""


class SendingDomains:
    """The domains of all tenants, as mail needs them.

    Args:
        database: where they are.
        bounce_host: what takes bounces; empty: no domain has an envelope sender of its own.
        required: mail from a domain that is not verified is refused.
        tracking: says how mail is tracked; None: it is not.
    """

    def __init__(
        self,
        database: Database,
        *,
        bounce_host: str = "",
        required: bool = False,
        tracking: TrackingLinks | None = None,
    ) -> None:
        self._database = database
        self._bounces = bool(bounce_host)
        self._required = required
        self._tracking = tracking or TrackingLinks()
        self._tenants: dict[UUID, dict[str, SendingDomain]] = {}
        self._since: datetime | None = None
        self.trouble = "the domains have not been read yet"
        """Why they could not be read the last time."""

    @property
    def loaded(self) -> bool:
        """All domains were read once; before that mail might go unsigned."""
        return self._since is not None

    # What mail asks

    def check_loaded(self) -> None:
        """Raise 503 as long as the domains are not known."""
        if self._since is None:
            raise unavailable("The sending domains of this system have not been read yet.")

    def check_sender(self, tenant: UUID, sender: str) -> None:
        """``sender`` is the domain of a From address.

        Raises:
            Refusal: 403, it is not verified and has to be.
        """
        if self._required:
            found = domain_for(self._tenants.get(tenant, _NONE), sender)
            if found is None or not found.verified:
                raise unverified_domain(sender)

    def check_tracking(self, asked: Tracking) -> None:
        """Raise where a mail is to be tracked and cannot be.

        Raises:
            Refusal: 422.
        """
        if not self._tracking.made:
            for field, wanted in (("open_tracking", asked.opens), ("click_tracking", asked.clicks)):
                if wanted:
                    raise no_tracking(field)

    def signing(self, plan: Plan) -> Sign | None:
        """What is to be done with the contents of a call before they are published; None: nothing.

        The one place that says which domain signs a mail, and whether it is tracked, for mail of every kind.
        """
        known = self._tenants.get(plan.tenant, _NONE)
        if not known and not self._tracking.made:
            return None

        def sign(content: Content, sender: str) -> Content:
            found = domain_for(known, sender) if known else None
            tracking = self._tracked(plan, content, found)
            if found is not None:
                return replace(
                    content,
                    signing=found.name,
                    envelope_sender=found.envelope_sender,
                    tls=content.tls or found.tls,
                    tracking=tracking,
                )
            return content if tracking is content.tracking else replace(content, tracking=tracking)

        return sign

    def _tracked(self, plan: Plan, content: Content, found: SendingDomain | None) -> Tracking | None:
        """What of a mail is tracked: what its call says, else its domain; None for nothing."""
        asked = content.tracking
        opens = found is not None and found.open_tracking
        clicks = found is not None and found.click_tracking
        if asked is not None:
            opens = opens if asked.opens is None else asked.opens
            clicks = clicks if asked.clicks is None else asked.clicks
        if not (opens or clicks) or content.html is None or not self._tracking.made:
            return None
        host = None if found is None else found.tracking_host
        made = self._tracking.of(plan.tenant, partition_of(plan.base), plan.accepted_at, host)
        return replace(made, opens=opens, clicks=clicks)

    # Following the table

    async def refresh(self) -> None:
        """Read what changed (everything, the first time).

        Raises:
            DatabaseDown: nothing changed here.
        """
        if self._since is None:
            now = (await self._database.fetchrow("SELECT clock_timestamp() AS now"))["now"]
            rows = await self._database.fetch(_ALL)
        else:
            rows = await self._database.fetch(_CHANGED, self._since - OVERLAP)
            now = max((row["now"] for row in rows), default=self._since)
        for row in rows:
            self._take(row)
        self._since = now
        record_domains_refreshed(time.time())

    async def follow(self) -> None:
        """Refresh for ever."""
        down = False
        while True:
            try:
                await self.refresh()
                if down:
                    log.info("ingest.domains.readable")
                down = False
            except DatabaseDown as error:
                self.trouble = database_trouble(error.__cause__ or error)
                if not down:
                    log.warning("ingest.domains.unreadable", error=str(error), loaded=self.loaded)
                down = True
            except Exception as error:
                self.trouble = database_trouble(error)
                # Whatever the reason, domains must be followed again: mail of new ones would go unsigned.
                log.exception("ingest.domains.failed")
            await asyncio.sleep(REFRESH)

    def _take(self, row: Mapping[str, Any]) -> None:
        tenant, ident, name = UUID(str(row["tenant"])), UUID(str(row["id"])), row["name"]
        domains = self._tenants.setdefault(tenant, {})
        if row["deleted_at"] is not None:
            # Another row may have the name by now.
            if name in domains and domains[name].id == ident:
                del domains[name]
            return
        returns = self._bounces and row["returns"]
        domains[name] = SendingDomain(
            id=ident,
            name=name,
            verified=DomainState(row["state"]) in MAY_SEND,
            strict=row["strict"],
            envelope_sender=envelope_sender(name, row["return_path"]) if returns else None,
            tls=TlsNeed.REQUIRED if row["tls"] == ENFORCED else None,
            open_tracking=row["open_tracking"],
            click_tracking=row["click_tracking"],
            tracking_host=f"{row['tracking_subdomain']}.{name}" if row["tracks"] else None,
        )
