"""``/v1/privacy``: what is stored of an address, as a file, or its erasure; workers do both."""

from collections.abc import AsyncIterator
from datetime import UTC
from typing import Any
from uuid import UUID

import msgspec
import structlog

from mailwarren.ingest.adapters.privacy import Privacy
from mailwarren.ingest.api.answers.privacy import (
    Admitted,
    PrivacyRequestDeleted,
    PrivacyRequestList,
    PrivacyRequestMade,
    PrivacyRequestShown,
)
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.domain.archive import Archive
from mailwarren.ingest.domain.cursor import parse_id, parse_page
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.privacy import AdmitBody, PrivacyBody, as_counts, check_email, percent, stages
from mailwarren.ingest.domain.refusal import invalid, not_found
from mailwarren.store.states import PrivacyKind, PrivacyState

log = structlog.get_logger()


async def create(call: Call) -> Answer:
    """``POST``: 201, also when one for the address is under way."""
    body = decode(call.body, PrivacyBody)
    ident = await call.services.privacy.create(call.key.tenant, PrivacyKind(body.type), check_email(body.email))
    log.info(
        "ingest.privacy.requested",
        request=str(ident), kind=body.type, tenant=str(call.key.tenant), by=str(call.key.id),
    )  # fmt: skip
    return answer(PrivacyRequestMade(id=ident), 201)


async def read_list(call: Call) -> Answer:
    """``GET`` a page."""
    page = parse_page(call.query)
    shown, more = page.cut(await call.services.privacy.page(call.key.tenant, page))
    return answer(PrivacyRequestList(has_more=more, data=[_shown(row) for row in shown]))


async def read(call: Call) -> Answer:
    """``GET`` one."""
    return answer(_shown(await _found(call)))


async def delete(call: Call) -> Answer:
    """``DELETE`` one that has ended."""
    row = await _found(call)
    ident = UUID(str(row["id"]))
    if not await call.services.privacy.delete(call.key.tenant, ident):
        raise invalid(f"The request {ident} is under way: it can be deleted when it has ended.")
    log.info("ingest.privacy.deleted", request=str(ident), tenant=str(call.key.tenant), by=str(call.key.id))
    return answer(PrivacyRequestDeleted(id=ident))


async def download(call: Call) -> Answer:
    """``GET …/{id}/download``: the file of an export."""
    row = await _found(call)
    ident = UUID(str(row["id"]))
    if row["kind"] != PrivacyKind.EXPORT:
        raise invalid(f"The request {ident} is an erasure, which has no file.")
    if row["state"] != PrivacyState.COMPLETED:
        raise invalid(f"The export {ident} is not completed: it is {row['state']}.")
    tenant, privacy = call.key.tenant, call.services.privacy
    # Before the answer begins: a file that is gone is a 404.
    if row["parts"] and await anext(privacy.parts(tenant, ident), None) is None:
        raise not_found(f"The file of the export {ident} was deleted: make a new one.")
    log.info("ingest.privacy.downloaded", request=str(ident), tenant=str(tenant), by=str(call.key.id))
    headers = (
        (b"content-disposition", f'attachment; filename="export-{ident}.zip"'.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"private, no-store"),
    )
    return Answer(200, b"", headers, _archive(privacy, tenant, row))


async def admit(call: Call) -> Answer:
    """``POST /v1/privacy/admit``."""
    body = decode(call.body, AdmitBody)
    address = check_email(body.email)
    admitted = await call.services.privacy.admit(call.key.tenant, address)
    log.info("ingest.privacy.admitted", tenant=str(call.key.tenant), by=str(call.key.id), admitted=admitted)
    return answer(Admitted(email=address, admitted=admitted))


async def _archive(privacy: Privacy, tenant: UUID, row: Any) -> AsyncIterator[bytes]:
    """The pieces of a kind follow each other: they are one file of the archive."""
    archive = Archive()
    made = row["ended_at"].astimezone(UTC)
    moment = (made.year, made.month, made.day, made.hour, made.minute, made.second)
    index = {
        "object": "privacy_export",
        "id": str(row["id"]),
        "email": row["address"],
        "completed_at": made,
        "counts": as_counts(row["counts"]),
        "files": [f"{name}.jsonl" for name, number in as_counts(row["counts"]).items() if number],
    }
    name, entry = "", archive.begin("index.json", moment)
    yield entry.write(msgspec.json.format(msgspec.json.encode(index)))
    async for kind, lines in privacy.parts(tenant, UUID(str(row["id"]))):
        if kind != name:
            yield entry.close()
            name, entry = kind, archive.begin(f"{kind}.jsonl", moment)
        yield entry.write(lines)
    yield entry.close()
    yield archive.end()


async def _found(call: Call) -> Any:
    ident = parse_id(call.path["id"])
    row = await call.services.privacy.get(call.key.tenant, ident)
    if row is None:
        raise not_found(f"There is no privacy request with the id {ident}.")
    return row


def _shown(row: Any) -> PrivacyRequestShown:
    kind, state = PrivacyKind(row["kind"]), PrivacyState(row["state"])
    names = stages(kind)
    ended = row["ended_at"] is not None
    return PrivacyRequestShown(
        id=row["id"],
        type=kind,
        status=state,
        email=row["address"],
        stage=None if ended else names[min(row["stage"], len(names) - 1)],
        percent=percent(kind, row["stage"]),
        counts=as_counts(row["counts"]),
        size=row["size"],
        error=row["error"],
        created_at=row["created_at"],
        completed_at=row["ended_at"],
    )
