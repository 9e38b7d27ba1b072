"""Calls of the API, kept for a while: taken in at the price of one append, and written beside the calls.

A process writes what it took in once a second, so many at most: what comes beyond is counted and has no row. A refusal
may have twice the room, because it is what people look for.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import structlog

from mailwarren.contracts.ids import new_id
from mailwarren.ingest.adapters.database import Database, DatabaseDown
from mailwarren.ingest.adapters.keyset import fetch_page
from mailwarren.ingest.domain.api_logs import KEPT, shown_body, shown_path
from mailwarren.ingest.domain.cursor import Page
from mailwarren.ingest.metrics import record_log_dropped, record_logs_written

log = structlog.get_logger()

EVERY = 1.0
"""Seconds between two writes."""
MOST = 200
"""Calls that wait to be written. A row costs about as much CPU as a fifth of a call: with these it stays below a
hundredth of the process."""
AT_A_TIME = 20
"""Rows made without a pause: making one may take a tenth of a millisecond."""
LONGEST = 300
"""Characters of a path and of a client's name."""

_COLUMNS = (
    "tenant", "id", "created_at", "api_key", "method", "endpoint", "status", "user_agent", "request_body",
    "response_body",
)  # fmt: skip
_PAGE = """
SELECT l.id, l.created_at, l.method, l.endpoint, l.status, l.user_agent FROM api_logs l WHERE l.tenant = $1
"""
_FIND = """
SELECT id, created_at, method, endpoint, status, user_agent, request_body, response_body
FROM api_logs WHERE tenant = $1 AND id = $2
"""


class Taken(NamedTuple):
    """A call that was answered. Of a long body only its length is held."""

    at: float
    tenant: UUID
    key: UUID
    method: str
    path: str
    status: int
    agent: str
    request: bytes | int
    response: bytes | int


class ApiLogs:
    """The calls of all tenants, as this process took them in."""

    def __init__(self, database: Database, *, writes: bool) -> None:
        self._database = database
        self._writes = writes
        self._waiting: list[Taken] = []

    def add(
        self,
        tenant: UUID,
        key: UUID,
        *,
        method: str,
        path: str,
        status: int,
        agent: str | None,
        request: bytes,
        response: bytes,
    ) -> None:
        """Take a call in; it is counted when there is no room for it."""
        if not self._writes:
            return
        refused = status >= 400  # noqa: PLR2004
        if len(self._waiting) >= (2 * MOST if refused else MOST):
            record_log_dropped()
            return
        self._waiting.append(
            Taken(time.time(), tenant, key, method, path, status, agent or "", _held(request), _held(response))
        )

    async def follow(self) -> None:
        """Write for ever what waits."""
        down = False
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.write()
                down = False
            except DatabaseDown as error:
                # They wait for the database, as many as there is room for.
                if not down:
                    log.warning("ingest.logs.unwritten", error=str(error))
                down = True

    async def write(self) -> None:
        """Write what waits now.

        Raises:
            DatabaseDown: it waits on.
        """
        count = len(self._waiting)
        if not count:
            return
        rows = []
        for number, taken in enumerate(self._waiting[:count], 1):
            rows.append(_row(taken))
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)
        try:
            async with self._database.connection() as connection:
                await connection.copy_records_to_table("api_logs", records=rows, columns=_COLUMNS)
        except DatabaseDown:
            raise
        except Exception:
            # A row that the database does not take: whoever it is from, the next calls are kept.
            log.exception("ingest.logs.failed", calls=count)
            record_log_dropped(count)
        else:
            record_logs_written(count)
        del self._waiting[:count]

    async def page(self, tenant: UUID, page: Page) -> list[Any]:
        """Rows of a page in reading order, without bodies; may raise ``DatabaseDown``."""
        return await fetch_page(self._database, _PAGE, "l.id", page, tenant)

    async def find(self, tenant: UUID, ident: UUID) -> Any:
        """A call's row, or None; likewise."""
        return await self._database.fetchrow(_FIND, tenant, ident)


def _held(body: bytes) -> bytes | int:
    return body if len(body) <= KEPT else len(body)


def _row(taken: Taken) -> tuple[Any, ...]:
    return (
        taken.tenant,
        new_id(),
        datetime.fromtimestamp(taken.at, UTC),
        taken.key,
        taken.method,
        _plain(shown_path(taken.path.removeprefix("/v1")[:LONGEST])),
        taken.status,
        _plain(taken.agent),
        shown_body(taken.request),
        shown_body(taken.response),
    )


def _plain(text: str) -> str:
    """What Postgres takes."""
    return text[:LONGEST].replace("\x00", "").encode(errors="replace").decode()
