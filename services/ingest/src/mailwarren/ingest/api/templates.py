"""``/v1/templates``: make, read, change, publish, copy and preview templates; each is named by its id or its alias."""

import asyncio
from typing import Any, Literal, TypeVar
from uuid import UUID

import msgspec
import structlog

from mailwarren.ingest.adapters.templates import AliasTaken
from mailwarren.ingest.api.answers.templates import (
    PreviewShown,
    TemplateDeleted,
    TemplateFull,
    TemplateList,
    TemplateNamed,
    TemplateShort,
    VariableShown,
    VersionFull,
    VersionList,
    VersionShort,
)
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.domain.cursor import parse_page
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.refusal import Refusal, invalid, invalid_parameter, not_found, unavailable
from mailwarren.ingest.domain.template_mail import preview as rendered
from mailwarren.ingest.domain.templates import (
    MAX_NAME,
    Compiled,
    Markup,
    PreviewBody,
    PublishBody,
    TemplateBody,
    TemplateChange,
    Version,
    Written,
    check_change,
    check_new,
    names_needed,
)
from mailwarren.ingest.domain.validation import check_bodies
from mailwarren.ingest.markup.problem import MarkupProblem

log = structlog.get_logger()

T = TypeVar("T")

TRIES = 3
"""Changes to one template at the same moment that are put one after the other."""
COPY = " (copy)"


async def create(call: Call) -> Answer:
    """``POST /v1/templates``."""
    ident = await _create(call, check_new(decode(call.body, TemplateBody)))
    return answer(TemplateNamed(id=ident), 201)


async def read(call: Call) -> Answer:
    """``GET /v1/templates/{id}``."""
    row = await _row(call)
    version = await _version(call, row, None)
    return answer(
        TemplateFull(
            **_content(version) | {"created_at": row["created_at"], "published_at": row["published_at"]},
            id=row["id"],
            current_version_id=version.id,
            status=_status(row),
            has_unpublished_versions=row["latest"] != row["published"],
            updated_at=row["updated_at"],
        )
    )


async def read_list(call: Call) -> Answer:
    """``GET /v1/templates``."""
    page = parse_page(call.query)
    rows = await call.services.templates.page(call.key.tenant, page)
    if rows is None:
        raise invalid_parameter("The cursor in `after` or `before` is not a template.")
    shown, more = page.cut(rows)
    return answer(
        TemplateList(
            has_more=more,
            data=[
                TemplateShort(
                    id=row["id"],
                    name=row["name"],
                    status=_status(row),
                    published_at=row["published_at"],
                    created_at=row["created_at"],
                    updated_at=row["updated_at"],
                    alias=row["alias"],
                )
                for row in shown
            ],
        )
    )


async def update(call: Call) -> Answer:
    """``PATCH /v1/templates/{id}``: what is sent changes when it is published."""
    change = decode(call.body, TemplateChange)
    for _ in range(TRIES):
        row = await _row(call)
        version = await _version(call, row, None)
        written = check_change(version.written, change)
        compiled = await _compiled(call, written)
        try:
            saved = await call.services.templates.save(call.key.tenant, row, version, compiled)
        except AliasTaken as error:
            raise _taken(written) from error
        if saved:
            return answer(TemplateNamed(id=row["id"]))
    raise unavailable("Others are changing this template too. Nothing was changed; try again.")


async def delete(call: Call) -> Answer:
    """``DELETE /v1/templates/{id}``."""
    row = await _row(call)
    if not await call.services.templates.delete(call.key.tenant, row["id"]):
        raise _no_template(call)
    return answer(TemplateDeleted(id=row["id"]))


async def publish(call: Call) -> Answer:
    """``POST /v1/templates/{id}/publish``: the newest version, or the one that the body names."""
    number = optional(call.body, PublishBody).version
    row = await _row(call)
    older = None if number == row["latest"] else number
    if not await call.services.templates.publish(call.key.tenant, row["id"], older):
        raise _no_version(number) if number else _no_template(call)
    log.info("ingest.template.published", template=str(row["id"]), tenant=str(call.key.tenant))
    return answer(TemplateNamed(id=row["id"]))


async def duplicate(call: Call) -> Answer:
    """``POST /v1/templates/{id}/duplicate``: a draft with the newest version's content and no alias."""
    version = await _version(call, await _row(call), None)
    name = version.written.name[: MAX_NAME - len(COPY)] + COPY
    written = msgspec.structs.replace(version.written, name=name, alias=None)
    ident = await call.services.templates.create(call.key.tenant, Compiled(written, version.html, version.required))
    return answer(TemplateNamed(id=ident), 201)


async def read_versions(call: Call) -> Answer:
    """``GET /v1/templates/{id}/versions``."""
    page = parse_page(call.query)
    row = await _row(call)
    rows = await call.services.templates.versions(call.key.tenant, row["id"], page)
    if rows is None:
        raise invalid_parameter("The cursor in `after` or `before` is not a version of this template.")
    shown, more = page.cut(rows)

    def status(version: Any) -> Literal["draft", "published", "superseded"]:
        if version["number"] == row["published"]:
            return "published"
        return "draft" if version["published_at"] is None else "superseded"

    return answer(
        VersionList(
            has_more=more,
            data=[
                VersionShort(
                    id=version["id"],
                    version=version["number"],
                    status=status(version),
                    created_at=version["created_at"],
                    published_at=version["published_at"],
                )
                for version in shown
            ],
        )
    )


async def read_version(call: Call) -> Answer:
    """``GET /v1/templates/{id}/versions/{number}``."""
    number = call.path["number"]
    if not (number.isascii() and number.isdigit() and len(number) < 10):  # noqa: PLR2004 - Postgres's integer
        raise invalid_parameter("A version is a number.")
    version = await _version(call, await _row(call), int(number))
    return answer(VersionFull(**_content(version), id=version.id, template_id=version.template))


async def preview(call: Call) -> Answer:
    """``POST /v1/templates/{id}/preview``."""
    body = optional(call.body, PreviewBody)
    version = await _version(call, await _row(call), body.version)
    # Compiling takes up to a tenth of a second for each text, rendering ten milliseconds.
    async with call.services.aside:
        shown = await asyncio.to_thread(rendered, version, body.variables)
    return answer(
        PreviewShown(
            id=version.template, version=version.number, subject=shown.subject, html=shown.html, text=shown.text
        )
    )


def optional(body: bytes, kind: type[T]) -> T:
    """A body that may be left out."""
    # SDKs send nothing at all where there is nothing to say, or {}; PHP's empty map is [].
    return kind() if body.strip() in {b"", b"[]"} else decode(body, kind)


async def _create(call: Call, written: Written) -> UUID:
    compiled = await _compiled(call, written)
    try:
        return await call.services.templates.create(call.key.tenant, compiled)
    except AliasTaken as error:
        raise _taken(written) from error


async def _compiled(call: Call, written: Written) -> Compiled:
    # First as a template, because then the lines of what is wrong are those of the author's text.
    async with call.services.aside:
        await asyncio.to_thread(names_needed, written, "")
    try:
        html = await call.services.compiler.compile(written.source, written.markup, inline_css=written.inline_css)
    except MarkupProblem as error:
        raise invalid(f"Invalid `{written.markup}` field: {error}.") from error
    check_bodies(html, written.text)
    async with call.services.aside:
        return Compiled(written, html, await asyncio.to_thread(names_needed, written, html))


async def _row(call: Call) -> Any:
    row = await call.services.templates.template(call.key.tenant, call.path["id_or_alias"])
    if row is None:
        raise _no_template(call)
    return row


async def _version(call: Call, row: Any, number: int | None) -> Version:
    wanted = row["latest"] if number is None else number
    version = await call.services.templates.version(call.key.tenant, row["id"], wanted)
    if version is None:
        raise _no_version(wanted)
    return version


def _content(version: Version) -> dict[str, Any]:
    written = version.written
    mjml = written.markup is Markup.MJML
    return {
        "name": written.name,
        "alias": written.alias,
        "from_": written.sender,
        "subject": written.subject,
        "reply_to": list(written.reply_to) or None,
        "html": version.html if mjml else written.source,
        "text": written.text,
        "variables": [
            VariableShown(key=one.key, type=one.type, fallback_value=one.fallback_value) for one in written.variables
        ],
        "mjml": written.source if mjml else None,
        "inline_css": written.inline_css,
        "required": sorted(version.required),
        "version": version.number,
        "created_at": version.created_at,
        "published_at": version.published_at,
    }


def _status(row: Any) -> Literal["draft", "published"]:
    return "draft" if row["published"] is None else "published"


def _taken(written: Written) -> Refusal:
    return invalid(f"Invalid `alias` field: another template has the alias `{written.alias}`.")


def _no_template(call: Call) -> Refusal:
    return not_found(f"There is no template with the id or alias {call.path['id_or_alias'][:100]}.")


def _no_version(number: int | None) -> Refusal:
    return not_found(f"There is no version {number} of this template; the newest 50 are kept.")
