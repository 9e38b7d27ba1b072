"""``/v1/domains``: make, read, change, verify, rotate and delete sending domains."""

import asyncio
from typing import Any
from uuid import UUID

import structlog

from mailwarren.contracts.dkim import ED25519, RSA
from mailwarren.ingest.adapters.database import DatabaseDown
from mailwarren.ingest.adapters.dkim_keys import NewKey, make_keys
from mailwarren.ingest.adapters.domains import ClosedKey, Row, TrackingChange
from mailwarren.ingest.api.answers.domains import (
    AlignmentShown,
    DomainList,
    DomainMade,
    DomainShort,
    DomainShown,
    RecordShown,
)
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.domain.cursor import parse_id, parse_page
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.dns_records import (
    PRIORITY,
    Finding,
    Findings,
    Purpose,
    Site,
    Wanted,
    envelope_domain,
    wanted_records,
)
from mailwarren.ingest.domain.domains import (
    BOUNCES,
    MAX_DOMAINS,
    OPPORTUNISTIC,
    REGION,
    RETURN_PATH,
    DomainBody,
    DomainChange,
    check_domain,
    check_return_path,
    check_tracking,
    no_data_keys,
)
from mailwarren.ingest.domain.refusal import Refusal, invalid, not_found
from mailwarren.runtime.vault import Vault
from mailwarren.store.states import DomainState, KeyState

log = structlog.get_logger()


async def create(call: Call) -> Answer:
    """``POST /v1/domains``."""
    body, parts = decode(call.body, DomainBody), call.services.domains
    name = check_domain(body.name)
    tracking = _tracking(call, body, name)
    call.key.check_sender(name)
    path = RETURN_PATH
    if body.custom_return_path:
        path = check_return_path(body.custom_return_path, name, bounce_host=parts.site.bounce_host)
    if parts.vault is None:
        raise no_data_keys()
    if await parts.rows.by_name(call.key.tenant, name) is not None:
        raise invalid(f"Invalid `name` field: the domain {name} is there already. GET /v1/domains lists it.")
    # The Ed25519 key signs when its record was seen: verifiers that do not know it need not look in vain.
    keys = await _new_keys(parts.vault, {RSA: KeyState.ACTIVE, ED25519: KeyState.NEXT})
    region, tls = body.region or REGION, body.tls or OPPORTUNISTIC
    row = await parts.rows.create(call.key.tenant, name, region, path, keys, tls=tls, tracking=tracking)
    if row is None:
        raise invalid(f"The domain {name} is there already, or there are {MAX_DOMAINS}; more are not possible.")
    log.info("ingest.domain.created", domain=name, **_who(call))
    await _known_here(call)
    return answer(DomainMade(**_shown(row, parts.site)), 201)


async def read(call: Call) -> Answer:
    """``GET /v1/domains/{id}``."""
    return _answer(call, await _found(call))


async def read_list(call: Call) -> Answer:
    """``GET /v1/domains``: all of them unless there is a ``limit``."""
    page = parse_page(call.query, default=None)
    shown, more = page.cut(await call.services.domains.rows.page(call.key.tenant, page))
    return answer(DomainList(has_more=more, data=[_short(row) for row in shown]))


async def change(call: Call) -> Answer:
    """``PATCH /v1/domains/{id}``."""
    body = decode(call.body, DomainChange)
    row = await _found(call)
    tracking = _tracking(call, body, row.name)
    path = None
    if body.custom_return_path:
        host = call.services.domains.site.bounce_host
        path = check_return_path(body.custom_return_path, row.name, bounce_host=host)
    after = await call.services.domains.rows.change(
        call.key.tenant, row.id, return_path=path, tls=body.tls, tracking=tracking
    )
    if after is None:
        raise _none(row.id)
    log.info(
        "ingest.domain.changed",
        domain=row.name,
        return_path=after.return_path,
        tls=after.tls,
        open_tracking=after.open_tracking,
        click_tracking=after.click_tracking,
        **_who(call),
    )
    await _known_here(call)
    return _answer(call, after)


async def verify(call: Call) -> Answer:
    """``POST /v1/domains/{id}/verify``: look at the DNS now."""
    row = await _found(call)
    after = await call.services.domains.verifier.verify(row)
    if after is None:
        raise _none(row.id)
    log.info("ingest.domain.looked_at", domain=row.name, state=after.state.value, **_who(call))
    await _known_here(call)
    return _answer(call, after)


async def rotate(call: Call) -> Answer:
    """``POST /v1/domains/{id}/rotate``: new keys, which sign once their records are seen."""
    row, parts = await _found(call), call.services.domains
    if parts.vault is None:
        raise no_data_keys()
    active = {key.algorithm for key in row.keys if key.state is KeyState.ACTIVE}
    waiting = {key.algorithm for key in row.keys if key.state is KeyState.NEXT}
    if not active - waiting:
        names = ", ".join(f"`{key.selector}._domainkey.{row.name}`" for key in row.keys if key.state is KeyState.NEXT)
        raise invalid(f"A rotation is under way: publish {names}, and verify the domain.")
    keys = await _new_keys(parts.vault, dict.fromkeys(sorted({RSA, ED25519} - waiting), KeyState.NEXT))
    after = await parts.rows.rotate(call.key.tenant, row.id, keys)
    if after is None:
        raise _none(row.id)
    log.info("ingest.domain.rotating", domain=row.name, selectors=[key.selector for key in keys], **_who(call))
    return _answer(call, after)


async def delete(call: Call) -> Answer:
    """``DELETE /v1/domains/{id}``; its keys are gone."""
    ident = (await _found(call)).id
    row = await call.services.domains.rows.delete(call.key.tenant, ident)
    if row is None:
        raise _none(ident)
    log.info("ingest.domain.deleted", domain=row.name, **_who(call))
    await _known_here(call)
    return answer(_short(row, deleted=True))


def _tracking(call: Call, body: DomainBody | DomainChange, name: str) -> TrackingChange:
    parts = call.services.domains
    subdomain = check_tracking(body, name, parts.site.tracking_host, made=parts.tracking.made)
    return TrackingChange(body.open_tracking, body.click_tracking, subdomain)


async def _found(call: Call) -> Row:
    ident = parse_id(call.path["id"])
    row = await call.services.domains.rows.get(call.key.tenant, ident)
    if row is None:
        raise _none(ident)
    call.key.check_sender(row.name)
    return row


async def _new_keys(vault: Vault, states: dict[str, KeyState]) -> list[ClosedKey]:
    made = await asyncio.to_thread(make_keys, tuple(states))

    def closed(key: NewKey) -> ClosedKey:
        return ClosedKey(key.selector, key.algorithm, states[key.algorithm], key.public, vault.close(key.private))

    return [closed(key) for key in made]


async def _known_here(call: Call) -> None:
    """Mail that this process accepts from now on goes by the change; it is done, whether that can be read or not."""
    try:
        await call.services.domains.sending.refresh()
    except DatabaseDown as error:
        log.debug("ingest.request.no_database", endpoint="domains", error=str(error))


def _answer(call: Call, row: Row) -> Answer:
    return answer(DomainShown(**_shown(row, call.services.domains.site)))


def _shown(row: Row, site: Site) -> dict[str, Any]:
    known = {(finding.name, finding.type): finding for finding in row.findings.records}
    wanted = wanted_records(row.name, row.return_path, row.keys, site, row.tracking_subdomain)
    returns = bool(site.bounce_host)
    return {
        "id": row.id,
        "name": row.name,
        "created_at": row.created_at,
        "status": row.state,
        "region": row.region,
        "records": [_record(one, known.get(one.place)) for one in wanted],
        **_tracked(row),
        "tls": row.tls,
        "custom_return_path": row.return_path if returns else None,
        "envelope_sender": f"{BOUNCES}@{envelope_domain(row.name, row.return_path, site)}" if returns else None,
        "checked_at": row.checked_at,
        "alignment": _alignment(row.findings),
    }


def _tracked(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {"open_tracking": row.open_tracking, "click_tracking": row.click_tracking}
    if row.tracking_subdomain is not None:
        found["tracking_subdomain"] = row.tracking_subdomain
    return found


def _alignment(findings: Findings) -> AlignmentShown | None:
    found, dmarc = findings.alignment, findings.dmarc
    if found is None:
        return None
    return AlignmentShown(
        policy=None if dmarc is None else dmarc.policy,
        record=None if dmarc is None else dmarc.at,
        dkim=found.dkim,
        spf=found.spf,
        subdomains=found.subdomains,
    )


def _record(wanted: Wanted, finding: Finding | None) -> RecordShown:
    record = Purpose.SPF if wanted.purpose is Purpose.BOUNCES else wanted.purpose
    values: dict[str, Any] = {"priority": PRIORITY} if wanted.type == "MX" else {}
    return RecordShown(
        record=record.value,
        name=wanted.name,
        type=wanted.type,
        status=DomainState.NOT_STARTED if finding is None else finding.state,
        value=wanted.value,
        needed=wanted.needed,
        found=[] if finding is None else list(finding.found),
        problem=None if finding is None else finding.problem,
        key=None if wanted.key is None else wanted.key.state,
        keep_until=None if wanted.key is None else wanted.key.named_until,
        **values,
    )


def _short(row: Row, *, deleted: bool = False) -> DomainShort:
    return DomainShort(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        status=row.state,
        region=row.region,
        deleted=deleted,
        **_tracked(row),
    )


def _who(call: Call) -> dict[str, str]:
    return {"tenant": str(call.key.tenant), "by": str(call.key.id)}


def _none(ident: UUID) -> Refusal:
    return not_found(f"There is no domain with the id {ident}.")
