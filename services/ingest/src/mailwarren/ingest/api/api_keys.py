"""``/v1/api-keys``: make, list, rename and delete API keys. A token is shown once."""

from uuid import UUID

import structlog

from mailwarren.ingest.api.answers.api_keys import KeyChanged, KeyDeleted, KeyList, KeyMade, KeyShown
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.domain.cursor import parse_id, parse_page
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.keys import check_domains, check_name
from mailwarren.ingest.domain.refusal import Refusal, invalid, invalid_parameter, not_found
from mailwarren.ingest.domain.requests import ApiKeyBody, ApiKeyChange, Permission

log = structlog.get_logger()


async def create(call: Call) -> Answer:
    """``POST /v1/api-keys``."""
    body = decode(call.body, ApiKeyBody)
    name, domains = check_name(body.name), check_domains(body.domains)
    if body.domain_id is not None:
        if domains is not None:
            raise invalid("Give `domain_id` or `domains`, not both: each says which domains the key may send from.")
        row = await call.services.domains.rows.get(call.key.tenant, body.domain_id)
        if row is None:
            raise invalid(f"Invalid `domain_id` field: there is no domain with the id {body.domain_id}.")
        domains = [row.name]
    call.key.check_grant(domains)
    made = await call.services.keys.create(call.key.tenant, name, body.permission or Permission.FULL, domains)
    log.info("ingest.key.created", key=str(made.id), tenant=str(call.key.tenant), by=str(call.key.id))
    return answer(KeyMade(id=made.id, token=made.token), 201)


async def read_list(call: Call) -> Answer:
    """``GET /v1/api-keys``: all of them unless there is a ``limit``."""
    page = parse_page(call.query, default=None)
    rows = await call.services.keys.page(call.key.tenant, page)
    if rows is None:
        raise invalid_parameter("The cursor in `after` or `before` is not an API key.")
    shown, more = page.cut(rows)
    return answer(
        KeyList(
            has_more=more,
            data=[
                KeyShown(
                    id=row["id"],
                    name=row["name"],
                    created_at=row["created_at"],
                    last_used_at=row["last_used_at"],
                    permission=Permission(row["permission"]),
                    domains=row["domains"],
                    prefix=row["prefix"],
                )
                for row in shown
            ],
        )
    )


async def rename(call: Call) -> Answer:
    """``PATCH /v1/api-keys/{id}``."""
    ident = parse_id(call.path["id"])
    name = check_name(decode(call.body, ApiKeyChange).name)
    if not await call.services.keys.rename(call.key.tenant, ident, name):
        raise _no_key(ident)
    return answer(KeyChanged(id=ident))


async def delete(call: Call) -> Answer:
    """``DELETE /v1/api-keys/{id}``; a key may delete itself."""
    ident = parse_id(call.path["id"])
    if not await call.services.keys.delete(call.key.tenant, ident):
        raise _no_key(ident)
    log.info("ingest.key.deleted", key=str(ident), tenant=str(call.key.tenant), by=str(call.key.id))
    return answer(KeyDeleted(id=ident))


def _no_key(ident: UUID) -> Refusal:
    return not_found(f"There is no API key with the id {ident}.")
