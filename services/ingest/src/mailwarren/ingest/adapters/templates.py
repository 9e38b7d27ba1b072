"""Templates in Postgres, and the published ones in memory: mail is accepted with them while the database is away."""

import time
from collections import OrderedDict
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import structlog

from mailwarren.contracts.ids import new_id
from mailwarren.ingest.adapters.database import STATEMENT_TIMEOUT, Database, DatabaseDown
from mailwarren.ingest.domain.cursor import Page
from mailwarren.ingest.domain.templates import MAX_VERSIONS, Compiled, Markup, Variable, Version, Written, is_reference

log = structlog.get_logger()

FRESH = 1.0
"""Seconds for which a published version is sent without asking again."""
AGAIN = 0.5
"""Seconds that a mail waits for that."""
CACHED = 32 * 1024 * 1024
"""Characters of content kept, about."""

_BY_ID = "t.id = $2"
_BY_ALIAS = "t.alias = $2"
_PUBLISHED = "v.number = t.published"
_TEMPLATE = "t.id, t.name, t.alias, t.latest, t.published, t.published_at, t.created_at, t.updated_at"
_VERSION = """t.id AS template, t.name, t.alias, v.number, v.id, v.sender, v.subject, v.reply_to, v.source, v.markup,
       v.inline_css, v.html, v.text, v.variables, v.required, v.created_at, v.published_at"""
_JOINED = "FROM templates t JOIN template_versions v ON v.tenant = t.tenant AND v.template = t.id"
_COLUMNS = """tenant, template, number, id, sender, subject, reply_to, source, markup, inline_css, html, text,
       variables, required, created_at"""
_VALUES = "$5, $6, $7, $8, $9::text[], $10, $11, $12, $13, $14, $15::jsonb, $16::text[], clock_timestamp()"

_CREATE = f"""
WITH made AS (
  INSERT INTO templates (tenant, id, name, alias, latest, created_at, updated_at)
  VALUES ($1, $2, $3, $4, $5, clock_timestamp(), clock_timestamp()) RETURNING tenant, id
)
INSERT INTO template_versions ({_COLUMNS})
SELECT made.tenant, made.id, {_VALUES} FROM made RETURNING number
"""  # noqa: S608 - constants
# Nothing when another change came first: what was compiled meanwhile would take it back.
_SAVE = f"""
WITH changed AS (
  UPDATE templates SET name = $3, alias = $4, latest = $5, updated_at = clock_timestamp()
  WHERE tenant = $1 AND id = $2 AND updated_at = $17 RETURNING tenant, id
)
INSERT INTO template_versions ({_COLUMNS})
SELECT changed.tenant, changed.id, {_VALUES} FROM changed
ON CONFLICT (tenant, template, number) DO UPDATE SET
  sender = excluded.sender, subject = excluded.subject, reply_to = excluded.reply_to, source = excluded.source,
  markup = excluded.markup, inline_css = excluded.inline_css, html = excluded.html, text = excluded.text,
  variables = excluded.variables, required = excluded.required, created_at = excluded.created_at
WHERE template_versions.published_at IS NULL
RETURNING number
"""  # noqa: S608 - constants
_PUBLISH = """
WITH changed AS (
  UPDATE templates SET published = latest, published_at = clock_timestamp(), updated_at = clock_timestamp()
  WHERE tenant = $1 AND id = $2 RETURNING tenant, id, latest
)
UPDATE template_versions v SET published_at = coalesce(v.published_at, clock_timestamp()) FROM changed
WHERE v.tenant = changed.tenant AND v.template = changed.id AND v.number = changed.latest RETURNING v.number
"""
_PUBLISH_AGAIN = f"""
WITH changed AS (
  UPDATE templates t SET latest = t.latest + 1, published = t.latest + 1, published_at = clock_timestamp(),
    updated_at = clock_timestamp()
  WHERE t.tenant = $1 AND t.id = $2 AND EXISTS (
    SELECT FROM template_versions v WHERE v.tenant = $1 AND v.template = $2 AND v.number = $3)
  RETURNING t.latest
)
INSERT INTO template_versions ({_COLUMNS}, published_at)
SELECT v.tenant, v.template, changed.latest, $4, v.sender, v.subject, v.reply_to, v.source, v.markup, v.inline_css,
       v.html, v.text, v.variables, v.required, clock_timestamp(), clock_timestamp()
FROM template_versions v, changed WHERE v.tenant = $1 AND v.template = $2 AND v.number = $3 RETURNING number
"""  # noqa: S608 - constants
_FORGET = """
DELETE FROM template_versions v USING templates t
WHERE v.tenant = $1 AND v.template = $2 AND t.tenant = v.tenant AND t.id = v.template
  AND v.number <= t.latest - $3 AND v.number IS DISTINCT FROM t.published
"""


class AliasTaken(Exception):
    """Another template of the tenant has this alias."""


class Templates:
    """Everything is asked for a tenant; another tenant's template does not exist."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._published: OrderedDict[tuple[UUID, str], tuple[float, Version]] = OrderedDict()
        self._held = 0

    async def published(self, tenant: UUID, id_or_alias: str) -> Version | None:
        """The version that is sent; when the database is away the one that was sent last.

        Raises:
            DatabaseDown: not readable now, and not known here.
        """
        key = tenant, id_or_alias
        known = self._published.get(key)
        if known is None:
            version = await self._version(tenant, id_or_alias, _PUBLISHED)
        elif time.monotonic() - known[0] < FRESH:
            return known[1]
        else:
            # One call asks again, for a moment; the others go on with what is known.
            self._keep(key, known[1])
            try:
                version = await self._version(tenant, id_or_alias, _PUBLISHED, within=AGAIN)
            except DatabaseDown:
                return known[1]
        self._keep(key, version)
        return version

    def _keep(self, key: tuple[UUID, str], version: Version | None) -> None:
        if (before := self._published.pop(key, None)) is not None:
            self._held -= _size(before[1])
        if version is not None:
            self._published[key] = time.monotonic(), version
            self._held += _size(version)
        while self._held > CACHED and self._published:
            self._held -= _size(self._published.popitem(last=False)[1][1])

    async def template(self, tenant: UUID, id_or_alias: str) -> Any:
        """A template's row, or None."""
        if not is_reference(id_or_alias):
            return None
        where, value = _which(id_or_alias)
        sql = f"SELECT {_TEMPLATE} FROM templates t WHERE t.tenant = $1 AND {where}"  # noqa: S608 - constants
        return await self._database.fetchrow(sql, tenant, value)

    async def version(self, tenant: UUID, template: UUID, number: int) -> Version | None:
        """A version of a template."""
        return await self._version(tenant, str(template), "v.number = $3", number)

    async def _version(
        self, tenant: UUID, id_or_alias: str, which: str, *values: object, within: float = STATEMENT_TIMEOUT
    ) -> Version | None:
        if not is_reference(id_or_alias):
            return None
        where, value = _which(id_or_alias)
        sql = f"SELECT {_VERSION} {_JOINED} WHERE t.tenant = $1 AND {where} AND {which}"
        rows = await self._database.fetch(sql, tenant, value, *values, within=within)
        return _read(rows[0]) if rows else None

    async def create(self, tenant: UUID, compiled: Compiled) -> UUID:
        """A new template with its first version.

        Raises:
            AliasTaken: nothing was made.
        """
        ident = new_id()
        await self._write(_CREATE, tenant, ident, 1, compiled)
        return ident

    async def save(self, tenant: UUID, template: Any, newest: Version, compiled: Compiled) -> bool:
        """The changed template: in place while its newest version was never published, else as a new version.

        Args:
            tenant: whose.
            template: its row, read before ``newest``.
            newest: its newest version, of which the change was made.
            compiled: what it is to be.

        Returns:
            False when somebody else changed it meanwhile; nothing was done then.

        Raises:
            AliasTaken: nothing was done.
        """
        number = newest.number + (newest.published_at is not None)
        saved = await self._write(_SAVE, tenant, template["id"], number, compiled, template["updated_at"])
        if saved and number > MAX_VERSIONS:
            await self._database.fetch(_FORGET, tenant, template["id"], MAX_VERSIONS)
        return saved

    async def _write(self, sql: str, tenant: UUID, ident: UUID, number: int, compiled: Compiled, *seen: object) -> bool:
        written = compiled.written
        variables = msgspec.json.encode(written.variables).decode()
        try:
            rows = await self._database.fetch(
                sql, tenant, ident, written.name, written.alias, number, new_id(), written.sender, written.subject,
                list(written.reply_to), written.source, written.markup.value, written.inline_css, compiled.html,
                written.text, variables, sorted(compiled.required), *seen,
            )  # fmt: skip
        except asyncpg.UniqueViolationError as error:
            raise AliasTaken(written.alias) from error
        return bool(rows)

    async def publish(self, tenant: UUID, template: UUID, number: int | None) -> bool:
        """Send the newest version from now on, or an older one, which becomes the newest; whether there is such one."""
        if number is None:
            rows = await self._database.fetch(_PUBLISH, tenant, template)
        else:
            rows = await self._database.fetch(_PUBLISH_AGAIN, tenant, template, number, new_id())
            await self._database.fetch(_FORGET, tenant, template, MAX_VERSIONS)
        self._forget(tenant)
        return bool(rows)

    async def delete(self, tenant: UUID, template: UUID) -> bool:
        """Whether there was such a template."""
        rows = await self._database.fetch(
            "DELETE FROM templates WHERE tenant = $1 AND id = $2 RETURNING id", tenant, template
        )
        self._forget(tenant)
        return bool(rows)

    def _forget(self, tenant: UUID) -> None:
        for key in [key for key in self._published if key[0] == tenant]:
            self._keep(key, None)

    async def page(self, tenant: UUID, page: Page) -> list[Any] | None:
        """Templates of a page in reading order, or None when the cursor is none."""
        head = f"SELECT {_TEMPLATE} FROM templates t WHERE t.tenant = $1"  # noqa: S608 - constants
        cursor = page.after or page.before
        if cursor is None:
            return await self._database.fetch(f"{head} ORDER BY created_at DESC, id DESC LIMIT $2", tenant, page.fetch)
        at = await self._database.fetchrow(
            "SELECT created_at FROM templates WHERE tenant = $1 AND id = $2", tenant, cursor
        )
        if at is None:
            return None
        sign, order = ("<", "DESC") if page.after else (">", "ASC")
        sql = f"{head} AND (created_at, id) {sign} ($2, $3) ORDER BY created_at {order}, id {order} LIMIT $4"
        return await self._database.fetch(sql, tenant, at["created_at"], cursor, page.fetch)

    async def versions(self, tenant: UUID, template: UUID, page: Page) -> list[Any] | None:
        """Versions of a page in reading order, without their texts, or None when the cursor is none."""
        head = (
            "SELECT id, number, created_at, published_at FROM template_versions v "
            "WHERE v.tenant = $1 AND v.template = $2"
        )
        cursor = page.after or page.before
        if cursor is None:
            return await self._database.fetch(f"{head} ORDER BY number DESC LIMIT $3", tenant, template, page.fetch)
        at = await self._database.fetchrow(f"{head} AND id = $3", tenant, template, cursor)
        if at is None:
            return None
        sign, order = ("<", "DESC") if page.after else (">", "ASC")
        sql = f"{head} AND number {sign} $3 ORDER BY number {order} LIMIT $4"
        return await self._database.fetch(sql, tenant, template, at["number"], page.fetch)


def _which(id_or_alias: str) -> tuple[str, object]:
    try:
        return _BY_ID, UUID(id_or_alias)
    except ValueError:
        return _BY_ALIAS, id_or_alias


def _read(row: Any) -> Version:
    written = Written(
        name=row["name"],
        alias=row["alias"],
        sender=row["sender"],
        subject=row["subject"],
        reply_to=tuple(row["reply_to"]),
        source=row["source"],
        markup=Markup(row["markup"]),
        inline_css=row["inline_css"],
        text=row["text"],
        variables=msgspec.json.decode(row["variables"], type=tuple[Variable, ...]),
    )
    return Version(
        template=UUID(str(row["template"])),
        number=row["number"],
        id=UUID(str(row["id"])),
        written=written,
        html=row["html"],
        required=frozenset(row["required"]),
        created_at=row["created_at"],
        published_at=row["published_at"],
    )


def _size(version: Version) -> int:
    return len(version.html) + len(version.written.source) + len(version.written.text or "") + 1000
