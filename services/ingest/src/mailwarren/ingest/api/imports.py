"""``/v1/contacts/imports``: contacts from a CSV file, which workers import."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import structlog

from mailwarren.contracts.ids import new_id
from mailwarren.ingest.adapters.database import DatabaseDown
from mailwarren.ingest.adapters.imports import Imports, Stored
from mailwarren.ingest.adapters.properties import KeyTaken
from mailwarren.ingest.api.answers.imports import (
    ColumnShown,
    ImportCounts,
    ImportList,
    ImportMade,
    ImportPreview,
    ImportShown,
    RowShown,
)
from mailwarren.ingest.api.body import ClientGone
from mailwarren.ingest.api.contacts import no_segment, no_topic
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.api.uploads import Upload
from mailwarren.ingest.domain.cursor import parse_id, parse_page
from mailwarren.ingest.domain.imports import report
from mailwarren.ingest.domain.imports.columns import Columns, Wish, map_columns, wishes
from mailwarren.ingest.domain.imports.head import Head, read_head
from mailwarren.ingest.domain.imports.request import Asked, Plan, read_encoding, read_fields
from mailwarren.ingest.domain.imports.rows import Reading
from mailwarren.ingest.domain.properties import MAX_PROPERTIES, Property, check_value
from mailwarren.ingest.domain.refusal import Refusal, invalid, invalid_parameter, not_found, unavailable
from mailwarren.ingest.intake import Intake, Keep
from mailwarren.store.states import ImportState

log = structlog.get_logger()

_SHOWN: dict[str, tuple[ImportState, ...]] = {
    "queued": (ImportState.QUEUED,),
    "in_progress": (ImportState.IN_PROGRESS,),
    "completed": (ImportState.COMPLETED,),
    "failed": (ImportState.FAILED, ImportState.CANCELED),
}
"""States by the public API's words."""
_STATUS: dict[str, Any] = {state: status for status, states in _SHOWN.items() for state in states}


async def create(call: Call) -> Answer:
    """``POST``: 201 when all of the file is there and can be imported."""
    upload = Upload(call, call.services.max_import)
    imports, tenant = call.services.imports, call.key.tenant
    ident = await imports.begin(tenant)
    try:
        taken = await _take_in(upload, partial(imports.keep, tenant, ident))
        await _queue(call, ident, await _checked(call, upload, taken))
    except Exception as error:
        await _abandon(imports, tenant, ident)
        await _hear_out(upload, error)
        raise
    log.info("ingest.import.queued", import_id=str(ident), tenant=str(tenant), size=taken.size)
    return answer(ImportMade(id=ident), 201)


async def preview(call: Call) -> Answer:
    """``POST …/preview``: what an import of this file would do with its first rows."""
    upload = Upload(call, call.services.max_import)
    try:
        taken = await _take_in(upload, None)
        asked = read_fields(upload.fields)
        head = read_head(taken.head, asked.delimiter, whole=taken.whole)
    except Refusal as refusal:
        await _hear_out(upload, refusal)
        raise
    columns, reading, error = await _meaning(call, head, asked)
    return answer(
        ImportPreview(
            filename=upload.filename,
            encoding=taken.encoding,
            delimiter=head.delimiter,
            columns=[
                ColumnShown(name=name, field=columns.meaning(place) if columns else None)
                for place, name in enumerate(head.columns)
            ],
            rows=_rows(head, reading),
            error=error,
        )
    )


async def read(call: Call) -> Answer:
    """``GET`` one."""
    return answer(_shown(await _found(call)))


async def read_list(call: Call) -> Answer:
    """``GET`` a page, perhaps only those with a ``status``."""
    page = parse_page(call.query, others=("status",))
    status = call.query.get("status")
    if status not in {None, *_SHOWN}:
        raise invalid_parameter(f"The `status` parameter is one of {', '.join(_SHOWN)}.")
    states = None if status is None else _SHOWN[status]
    shown, more = page.cut(await call.services.imports.page(call.key.tenant, page, states))
    return answer(ImportList(has_more=more, data=[_shown(row) for row in shown]))


async def cancel(call: Call) -> Answer:
    """``POST …/{id}/cancel``: it stops after the batch in hand, and what was imported stays."""
    row = await _found(call)
    ident = UUID(str(row["id"]))
    if not await call.services.imports.cancel(call.key.tenant, ident):
        raise invalid(f"The import {ident} has ended already.")
    log.info("ingest.import.canceled", import_id=str(ident), tenant=str(call.key.tenant), by=str(call.key.id))
    return answer(_shown(await _found(call)))


async def read_errors(call: Call) -> Answer:
    """``GET …/{id}/errors``: the rows that failed, as CSV."""
    row = await _found(call)
    ident = UUID(str(row["id"]))
    headers = (
        (b"content-disposition", f'attachment; filename="import-{ident}-errors.csv"'.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"private, no-store"),
    )
    names = msgspec.json.decode(row["plan"], type=Plan).names
    return Answer(200, b"", headers, _report(call.services.imports, call.key.tenant, ident, names))


async def _report(imports: Imports, tenant: UUID, ident: UUID, names: list[str]) -> AsyncIterator[bytes]:
    yield report.first_line(names)
    async for failures in imports.failures(tenant, ident):
        yield report.lines(failures)


async def _take_in(upload: Upload, keep: Keep | None) -> Intake:
    intake = None
    async for block in upload.blocks():
        if intake is None:
            intake = Intake(_told(upload), keep)
        await intake.take(block)
    if intake is None:
        intake = Intake(None, keep)
    await intake.end()
    if intake.size and _told(upload) != intake.told:
        raise invalid("Invalid `encoding` field: it has to stand in the form before the file, or in the query.")
    return intake


def _told(upload: Upload) -> str | None:
    fields = upload.fields
    if upload.charset and not fields.get("encoding"):
        fields["encoding"] = upload.charset
    return read_encoding(fields)


async def _hear_out(upload: Upload, error: Exception) -> None:
    if not isinstance(error, ClientGone):
        heard = await upload.hear_out()
        if isinstance(error, Refusal):
            error.close = not heard


async def _abandon(imports: Imports, tenant: UUID, ident: UUID) -> None:
    # Without the database retention does it.
    with contextlib.suppress(DatabaseDown):
        await imports.abandon(tenant, ident)


async def _checked(call: Call, upload: Upload, taken: Intake) -> Stored:
    """The file with all that was asked, as it can be queued; properties are declared that are to be.

    Raises:
        Refusal: 422 or 404 naming the field.
    """
    lists, tenant = call.services.lists, call.key.tenant
    asked = read_fields(upload.fields)
    head = read_head(taken.head, asked.delimiter, whole=taken.whole)
    declared = await lists.properties.declared(tenant)
    wanted = wishes(asked.column_map, declared)
    columns = map_columns(head.columns, [*declared, *map(_as_declared, wanted)], asked.column_map)
    if (unknown := await lists.segments.missing(tenant, {ref.id for ref in asked.segments})) is not None:
        raise no_segment(unknown)
    if (unknown := await lists.topics.missing(tenant, [choice.id for choice in asked.topics])) is not None:
        raise no_topic(unknown)
    await _declare(call, wanted)
    return Stored(
        filename=upload.filename,
        plan=Plan(
            encoding=taken.encoding,
            delimiter=head.delimiter,
            names=head.columns,
            columns=columns,
            webhooks=asked.webhooks,
        ),
        asked=asked,
        size=taken.size,
        position=head.place[0],
        line=head.place[1],
    )


async def _queue(call: Call, ident: UUID, stored: Stored) -> None:
    if not await call.services.imports.queue(call.key.tenant, ident, stored):
        raise unavailable("The upload took longer than a day and was given up: send the file again.")


async def _declare(call: Call, wanted: list[Wish]) -> None:
    checked = [(wish, _fallback(wish)) for wish in wanted]
    for wish, fallback in checked:
        # Another call may have declared it meanwhile; if with another type, its rows will say so.
        with contextlib.suppress(KeyTaken):
            made = await call.services.lists.properties.create(call.key.tenant, wish.key, wish.type, fallback)
            if made is None:
                raise invalid(f"There are {MAX_PROPERTIES} contact properties; `{wish.key}` is one too many.")


def _fallback(wish: Wish) -> Any:
    field = f"column_map.properties.{wish.key}.fallback_value"
    return None if wish.fallback is None else check_value(wish.fallback, wish.type, field)


def _as_declared(wish: Wish) -> Property:
    return Property(id=new_id(), key=wish.key, type=wish.type, fallback=None, created_at=datetime.now(UTC))


async def _meaning(call: Call, head: Head, asked: Asked) -> tuple[Columns | None, Reading | None, str | None]:
    """What the columns are, how the rows are read, and why not."""
    declared = await call.services.lists.properties.declared(call.key.tenant)
    try:
        known = [*declared, *map(_as_declared, wishes(asked.column_map, declared))]
        columns = map_columns(head.columns, known, asked.column_map)
    except Refusal as refusal:
        return None, None, refusal.message
    return columns, Reading(head.columns, columns, known), None


def _rows(head: Head, reading: Reading | None) -> list[RowShown]:
    failures = {} if reading is None else {one.number: one.error for one in reading.read(head.rows, 0).failures}
    return [
        RowShown(line=row.line, cells=row.cells, error=failures.get(number)) for number, row in enumerate(head.rows, 1)
    ]


async def _found(call: Call) -> Any:
    ident = parse_id(call.path["id"])
    row = await call.services.imports.get(call.key.tenant, ident)
    if row is None:
        raise not_found(f"There is no import with the id {ident}.")
    return row


def _shown(row: Any) -> ImportShown:
    counts = [row[name] for name in ("created", "updated", "skipped", "failed")]
    done = row["state"] == ImportState.COMPLETED
    return ImportShown(
        id=row["id"],
        status=_STATUS[row["state"]],
        created_at=row["created_at"],
        completed_at=row["ended_at"],
        counts=ImportCounts(
            total=sum(counts), created=counts[0], updated=counts[1], skipped=counts[2], failed=counts[3]
        ),
        filename=row["filename"],
        on_conflict=row["on_conflict"],
        percent=100.0 if done else round(100 * row["position"] / max(1, row["size"]), 1),
        error=row["error"],
    )
