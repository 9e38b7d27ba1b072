"""The ledger in Postgres: one batch, one transaction."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import asyncpg
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mailwarren.store.engine import driver_connection
from mailwarren.tracker.adapters import outcomes
from mailwarren.tracker.adapters.acceptances import write_acceptances
from mailwarren.tracker.adapters.partitions import Partitions
from mailwarren.tracker.adapters.settling import answer, write_cancels
from mailwarren.tracker.domain.fold import Folded, Report, distinct, doubtful, fold
from mailwarren.tracker.domain.read import Work
from mailwarren.tracker.domain.stats import count
from mailwarren.tracker.domain.status import Status
from mailwarren.tracker.domain.suppression import suppression_of
from mailwarren.tracker.ports import Recorded, Refused, Unavailable

if TYPE_CHECKING:
    from uuid import UUID

    from asyncpg import Connection, Record

log = structlog.get_logger()

REFUSALS = ("22", "23", "54")
"""SQLSTATE classes that blame the data: data exception, integrity constraint violation, program limit exceeded."""


class PostgresLedger:
    """Writes batches over one connection of the engine, which it keeps while that works."""

    def __init__(self, engine: AsyncEngine, partitions: Partitions) -> None:
        self._engine = engine
        self._partitions = partitions
        self._connection: AsyncConnection | None = None

    async def record(self, works: Sequence[Work]) -> Recorded:
        """Write all of it in one transaction, or nothing; see :class:`~mailwarren.tracker.ports.Ledger`."""
        raw = await self._connected()
        try:
            await self._prepare(raw, works)
            async with raw.transaction():
                return await self._write(raw, works)
        except Exception as error:
            if refuses(error):
                raise Refused(f"{type(error).__name__}: {error}") from error
            await self.close()
            raise Unavailable(f"{type(error).__name__}: {error}") from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Give the connection up; the next batch makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.invalidate()
                await connection.close()
            except (SQLAlchemyError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.debug("tracker.store.close_failed", error=str(error))

    async def _connected(self) -> "Connection[Record]":
        try:
            if self._connection is None:
                self._connection = await self._engine.connect()
            return await driver_connection(self._connection)
        except Exception as error:
            await self.close()
            raise Unavailable(f"{type(error).__name__}: {error}") from error

    async def _prepare(self, raw: "Connection[Record]", works: Sequence[Work]) -> None:
        now = time.time()
        days = self._partitions.missing((r.event.at for work in works for r in work.reports), now)
        if days:
            await self._partitions.make(raw, days, now)

    async def _write(self, raw: "Connection[Record]", works: Sequence[Work]) -> Recorded:
        recorded = Recorded()
        # Cancels first: their lock is exclusive, and one that is asked for later would wait for others in a circle.
        cancels = [work.cancel for work in works if work.cancel]
        if cancels:
            await write_cancels(raw, cancels)
        parcels = [work.acceptance for work in works if work.acceptance]
        if parcels:
            recorded.accepted = await write_acceptances(raw, parcels)
        reports = distinct(report for work in works for report in work.reports)
        questions = [work.question for work in works if work.question]
        known: dict[UUID, Status] = {}
        if reports or questions:
            asked = {ident for question in questions for ident in question.deliveries}
            known = await self._lock(raw, list(reports.values()), asked)
        if reports:
            await self._report(raw, list(reports.values()), known, into=recorded)
        await outcomes.add_stats(raw, count(recorded.accepted, recorded.events))
        if questions:
            recorded.answers = await answer(raw, questions, known)
        return recorded

    async def _lock(
        self, raw: "Connection[Record]", reports: Sequence[Report], asked: set["UUID"]
    ) -> dict["UUID", Status]:
        """Lock the rows; those that reports are about exist afterwards."""
        first = {report.event.delivery: report.event for report in reports}
        known = await outcomes.lock(raw, first.keys() | asked)
        missing = {ident: event for ident, event in first.items() if ident not in known}
        if missing:
            await outcomes.add_stubs(raw, missing)
            known |= await outcomes.lock(raw, missing)
        return known

    async def _report(
        self, raw: "Connection[Record]", reports: Sequence[Report], known: dict["UUID", Status], *, into: Recorded
    ) -> None:
        seen = await outcomes.seen(raw, doubtful(reports, known))
        folded: Folded = fold(reports, known, seen)
        await outcomes.write_changes(raw, folded.changes, known)
        news = [report for report in reports if report.event.id not in seen]
        written = await outcomes.write_events(raw, news)
        into.events = [report.event for report in news if report.event.id in written]
        into.delivered = folded.delivered
        into.repeated = len(reports) - len(into.events)
        entries = filter(None, map(suppression_of, into.events))
        await outcomes.write_suppressions(raw, entries)
        for ident, change in folded.changes.items():
            known[ident] = change.status


def refuses(error: Exception) -> bool:
    """Whether an error says that the batch itself cannot be written, and not that the database is away.

    Errors that Postgres names are judged by their class. What is neither Postgres nor the network is a bug of ours
    that some message has met: it is set aside, so that it holds up nobody else.
    """
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(REFUSALS)
    if isinstance(error, asyncpg.InterfaceError):
        return isinstance(error, ValueError)  # a value that does not fit its column's type
    return not isinstance(error, OSError | TimeoutError | SQLAlchemyError)
