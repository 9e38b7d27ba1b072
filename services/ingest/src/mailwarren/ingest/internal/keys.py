"""``GET /internal/dkim/{domain}?tenant=…``: the keys that mail of a domain is signed with, for senders.

The one place where private keys are decrypted. They are in no log line and in no traceback.
"""

import time
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter, HTTPException, Path, Response

from mailwarren.contracts.dkim import SigningKey, SigningKeys, encode_keys
from mailwarren.ingest.adapters.database import DatabaseDown
from mailwarren.ingest.adapters.domains import Domains
from mailwarren.ingest.domain.domains import envelope_sender
from mailwarren.ingest.metrics import record_key_read
from mailwarren.runtime.vault import Unreadable, Vault

log = structlog.get_logger()

FRESH = 300.0
"""Seconds for which a sender may use the keys before it asks again: a key that was replaced signs for so long."""

Name = Annotated[str, Path(pattern=r"^[a-z0-9-]+([.][a-z0-9-]+)+$", max_length=253)]


def key_routes(domains: Domains, vault: Vault | None, bounce_host: str) -> APIRouter:
    """The route.

    Args:
        domains: where keys are.
        vault: what decrypts them; None: nothing does, because there are no data keys (any more).
        bounce_host: what takes bounces; empty: domains have no envelope sender.
    """
    routes = APIRouter()

    @routes.get("/internal/dkim/{domain}")
    async def keys(domain: Name, tenant: UUID) -> Response:
        try:
            rows = await domains.signing(tenant, domain)
        except DatabaseDown as error:
            record_key_read("no_database")
            raise HTTPException(503, "the database cannot be reached now") from error
        if not rows:
            record_key_read("missing")
            raise HTTPException(404, "no such domain, or no key in force")
        try:
            found = [SigningKey(row["selector"], row["algorithm"], _opened(vault, row["private"])) for row in rows]
        except Unreadable as error:
            record_key_read("failed")
            log.error("ingest.domain.key_unreadable", domain=domain, tenant=str(tenant), error=str(error))  # noqa: TRY400 - its text says all
            raise HTTPException(503, "the keys cannot be decrypted") from None
        record_key_read("read")
        returns = bounce_host and rows[0]["returns"]
        sender = envelope_sender(domain, rows[0]["return_path"]) if returns else None
        body = encode_keys(SigningKeys(domain, tuple(found), time.time() + FRESH, sender))
        # Nothing between may keep it.
        return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})

    return routes


def _opened(vault: Vault | None, closed: bytes) -> bytes:
    if vault is None:
        raise Unreadable("MAILWARREN_DATA_KEYS is not set")
    return vault.open(closed)
