"""``/v1/segments``, and ``/v1/audiences``, their older name: a handler's ``word`` is the one of its path."""

from typing import Any
from uuid import UUID

import structlog

from mailwarren.ingest.api.answers.segments import (
    SegmentChanged,
    SegmentDeleted,
    SegmentList,
    SegmentMade,
    SegmentShort,
    SegmentShown,
)
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.domain.cursor import parse_id, parse_page
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.refusal import Refusal, invalid, not_found
from mailwarren.ingest.domain.segments import MAX_NAME, MAX_SEGMENTS, SegmentBody
from mailwarren.ingest.domain.texts import check_name

log = structlog.get_logger()

SEGMENT, AUDIENCE = "segment", "audience"


async def create(call: Call, *, word: str = SEGMENT) -> Answer:
    """``POST``."""
    name = check_name(decode(call.body, SegmentBody).name, "name", MAX_NAME)
    row = await call.services.lists.segments.create(call.key.tenant, name)
    if row is None:
        raise invalid(f"There are {MAX_SEGMENTS} {word}s; more are not possible. Delete one first.")
    return answer(SegmentMade(object=word, id=row["id"], name=row["name"]), 201)


async def read(call: Call, *, word: str = SEGMENT) -> Answer:
    """``GET`` one."""
    ident = parse_id(call.path["id"])
    row = await call.services.lists.segments.get(call.key.tenant, ident)
    if row is None:
        raise _none(word, ident)
    return answer(SegmentShown(object=word, id=row["id"], name=row["name"], created_at=row["created_at"]))


async def read_list(call: Call) -> Answer:
    """``GET`` a page; all of them unless there is a ``limit``."""
    page = parse_page(call.query, default=None)
    shown, more = page.cut(await call.services.lists.segments.page(call.key.tenant, page))
    return answer(SegmentList(has_more=more, data=[shown_short(row) for row in shown]))


async def rename(call: Call) -> Answer:
    """``PATCH``."""
    ident = parse_id(call.path["id"])
    name = check_name(decode(call.body, SegmentBody).name, "name", MAX_NAME)
    if not await call.services.lists.segments.rename(call.key.tenant, ident, name):
        raise _none(SEGMENT, ident)
    return answer(SegmentChanged(id=ident))


async def delete(call: Call, *, word: str = SEGMENT) -> Answer:
    """``DELETE``; the contacts stay."""
    ident = parse_id(call.path["id"])
    if not await call.services.lists.segments.delete(call.key.tenant, ident):
        raise _none(word, ident)
    log.info("ingest.segment.deleted", segment=str(ident), tenant=str(call.key.tenant), by=str(call.key.id))
    return answer(SegmentDeleted(object=word, id=ident))


def shown_short(row: Any) -> SegmentShort:
    """A segment in a list."""
    return SegmentShort(id=row["id"], name=row["name"], created_at=row["created_at"])


def _none(word: str, ident: UUID) -> Refusal:
    return not_found(f"There is no {word} with the id {ident}.")
