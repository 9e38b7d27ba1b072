"""``/v1/emails/{id}/attachments``: the files of an email that was sent, and links to download them."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mailwarren.ingest.adapters.blob_store import BlobsDown, NoSuchBlob
from mailwarren.ingest.adapters.database import DatabaseDown
from mailwarren.ingest.api.answers.attachments import (
    AttachmentDeleted,
    AttachmentFull,
    AttachmentList,
    AttachmentShown,
)
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.api.errors import error_body, error_headers
from mailwarren.ingest.api.services import Services
from mailwarren.ingest.domain.cursor import Page, parse_id, parse_page
from mailwarren.ingest.domain.downloads import LIFETIME, link_holds, sign
from mailwarren.ingest.domain.refusal import (
    Refusal,
    expired_link,
    invalid,
    invalid_parameter,
    not_found,
    unavailable,
)
from mailwarren.ingest.internal.app import cut_short
from mailwarren.ingest.metrics import record_refused
from mailwarren.store.states import ENDS

log = structlog.get_logger()

FILE = "/v1/emails/{id}/attachments/{attachment_id}/file"


async def read_list(call: Call) -> Answer:
    """``GET /v1/emails/{id}/attachments``."""
    email_id = parse_id(call.path["id"])
    page = parse_page(call.query, default=None)
    rows = await call.services.attached.of_email(call.key.tenant, email_id)
    if not rows:
        await _known(call, email_id)
    shown, more = _cut(rows, page)
    return answer(AttachmentList(has_more=more, data=[AttachmentShown(**_shown(call, row)) for row in shown]))


async def read(call: Call) -> Answer:
    """``GET /v1/emails/{id}/attachments/{attachment_id}``."""
    return answer(AttachmentFull(**_shown(call, await _row(call))))


async def delete(call: Call) -> Answer:
    """``DELETE /v1/emails/{id}/attachments/{attachment_id}`` (ours)."""
    row = await _row(call)
    email_id, ident = UUID(str(row["email_id"])), UUID(str(row["id"]))
    email = await call.services.reads.email(call.key.tenant, email_id)
    deliveries = [] if email is None else await call.services.reads.deliveries(call.key.tenant, email)
    if not deliveries or any(item["state"] not in ENDS for item in deliveries):
        raise invalid("This attachment cannot be deleted yet: not every delivery of its email has ended. Cancel it.")
    await call.services.attached.delete(call.key.tenant, email_id, ident)
    log.info("ingest.attachment.deleted", email_id=str(email_id), attachment=str(ident), tenant=str(call.key.tenant))
    return answer(AttachmentDeleted(id=ident))


async def _row(call: Call) -> Any:
    email_id, ident = parse_id(call.path["id"]), parse_id(call.path["attachment_id"], "attachment_id")
    row = await call.services.attached.one(call.key.tenant, email_id, ident)
    if row is None:
        raise not_found(f"There is no attachment with the id {ident} of an email {email_id}.")
    return row


async def _known(call: Call, email_id: UUID) -> None:
    if await call.services.reads.email(call.key.tenant, email_id) is None:
        raise not_found(f"There is no email with the id {email_id}.")


def _cut(rows: Sequence[Any], page: Page) -> tuple[list[Any], bool]:
    """The page of rows that are all here: an email has few."""
    cursor = page.after or page.before
    if cursor is not None:
        places = [number for number, row in enumerate(rows) if UUID(str(row["id"])) == cursor]
        if not places:
            raise invalid_parameter("The cursor in `after` or `before` is not an attachment of this email.")
        rows = rows[places[0] + 1 :] if page.after else rows[: places[0]][::-1]
    return page.cut(rows[: page.fetch])


def _shown(call: Call, row: Any) -> dict[str, Any]:
    expires = int(time.time()) + LIFETIME
    email_id, ident = UUID(str(row["email_id"])), UUID(str(row["id"]))
    signature = sign(call.services.links, (call.key.tenant, email_id, ident), expires)
    path = FILE.format(id=email_id, attachment_id=ident)
    shown = {
        "id": ident,
        "filename": row["filename"],
        "content_type": row["content_type"],
        "content_disposition": "attachment" if row["content_id"] is None else "inline",
        "size": row["size"],
        "download_url": f"{_base(call)}{path}?expires={expires}&signature={signature}",
        "expires_at": datetime.fromtimestamp(expires, UTC),
    }
    return shown if row["content_id"] is None else shown | {"content_id": row["content_id"]}


def _base(call: Call) -> str:
    """Where the caller reaches us, unless the operator has said it."""
    if call.services.public_url:
        return call.services.public_url
    scheme = "https" if call.header("x-forwarded-proto") == "https" else "http"
    return f"{scheme}://{call.header('host') or 'localhost'}"


def download_route(services: Services) -> Route:
    """The file itself, for whoever has a link."""

    async def download(request: Request) -> Response:
        try:
            return await _download(services, request)
        except DatabaseDown:
            refusal = unavailable("The database cannot be reached right now.")
        except BlobsDown as error:
            log.warning("ingest.blob.unreadable", error=str(error))
            refusal = unavailable("The blob store cannot be reached right now.")
        except Refusal as found:
            refusal = found
        record_refused(refusal.name.value)
        headers = {name.decode(): value.decode() for name, value in error_headers(refusal)}
        return Response(error_body(refusal), refusal.status, headers, "application/json")

    return Route(FILE, download)


async def _download(services: Services, request: Request) -> Response:
    email_id = parse_id(request.path_params["id"])
    ident = parse_id(request.path_params["attachment_id"], "attachment_id")
    query = request.query_params
    row = await services.attached.linked(email_id, ident)
    # The signature is looked at first: without one nobody learns what there is.
    tenant = UUID(int=0) if row is None else UUID(str(row["tenant"]))
    expires, signature = query.get("expires", ""), query.get("signature", "")
    if not link_holds(services.links, (tenant, email_id, ident), expires, signature, time.time()):
        raise expired_link()
    if row is None or services.store is None:
        raise expired_link()
    try:
        size, blocks = await services.store.read(row["digest"].hex())
    except NoSuchBlob as error:
        raise not_found("This file is not kept any more.") from error
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f"attachment; filename*=utf-8''{quote(row['filename'], safe='')}",
        "Cache-Control": "private, no-store",
        # It comes from who sent it, not from us: no browser may take it for a page of this host.
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    return StreamingResponse(cut_short(blocks, row["digest"].hex()), headers=headers, media_type=row["content_type"])
