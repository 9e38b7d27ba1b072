"""The ledger in Postgres: one batch, one transaction."""

import time
import traceback
from collections.abc import Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING

import asyncpg
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mailwarren.runtime.errors import report as report_error
from mailwarren.store.engine import AWAY, database_trouble, driver_connection
from mailwarren.tracker.adapters import deliveries, events, reports
from mailwarren.tracker.adapters.counters import add_steps
from mailwarren.tracker.adapters.emails import write_emails
from mailwarren.tracker.adapters.hits import told_before, write_hits
from mailwarren.tracker.adapters.kept import BY_KEY
from mailwarren.tracker.adapters.overrides import write_overrides
from mailwarren.tracker.adapters.partitions import Partitions
from mailwarren.tracker.adapters.rows import Unstorable
from mailwarren.tracker.adapters.settling import answer, write_cancels
from mailwarren.tracker.adapters.tls import add_sessions
from mailwarren.tracker.adapters.webhook_outbox import WebhookOutbox
from mailwarren.tracker.domain.counting import add_hits
from mailwarren.tracker.domain.fold import distinct
from mailwarren.tracker.domain.read import Work
from mailwarren.tracker.domain.settle import Terms
from mailwarren.tracker.domain.stats import count
from mailwarren.tracker.ports import Recorded, Refused, Unavailable

if TYPE_CHECKING:
    from asyncpg import Connection, Record

log = structlog.get_logger()

REFUSALS = ("22", "23", "54")
"""SQLSTATE classes that blame the data: data exception, integrity constraint violation, program limit exceeded."""


class Blame(Enum):
    """Who is to blame for a batch that was not written."""

    DATA = auto()
    """The batch: it never will be."""
    DATABASE = auto()
    """The database is away, restarts, takes too long, or ended a deadlock at our cost."""
    UNCLEAR = auto()
    """A bug of ours that some message met, or a surprise of the driver's over a lost session. A new connection tells:
    what happens there again is a bug, and the message is set aside, so that it holds up nobody else."""


class PostgresLedger:
    """Writes batches over one connection of the engine, which it keeps while that works."""

    def __init__(self, engine: AsyncEngine, partitions: Partitions, terms: Terms | None = None) -> None:
        self._engine = engine
        self._webhooks = WebhookOutbox()
        self._partitions = partitions
        self._terms = terms or Terms()
        self._connection: AsyncConnection | None = None

    async def record(self, works: Sequence[Work]) -> Recorded:
        """Write all of it in one transaction, or nothing; see :class:`~mailwarren.tracker.ports.Ledger`."""
        raw, fresh = await self._connected()
        try:
            await self._prepare(raw, works)
            return await self._commit(raw, works)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            blamed = blame(error)
            if blamed is Blame.UNCLEAR:
                # Without its text, which may quote a mail.
                where = "".join(traceback.format_tb(error.__traceback__))
                log.warning("tracker.store.surprise", error=type(error).__name__, where=where)
                report_error("tracker.store.surprise", error)
            if blamed is Blame.DATA or (blamed is Blame.UNCLEAR and fresh):
                raise Refused(reason) from error
            await self.close()
            raise Unavailable(reason if blamed is Blame.DATABASE else type(error).__name__) from error
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
            except AWAY as error:
                log.debug("tracker.store.close_failed", error=str(error))

    async def _connected(self) -> tuple["Connection[Record]", bool]:
        """The connection, and whether it was made for this batch."""
        fresh = self._connection is None
        try:
            if self._connection is None:
                self._connection = await self._engine.connect()
                await (await driver_connection(self._connection)).execute(BY_KEY)
            return await driver_connection(self._connection), fresh
        except Exception as error:
            await self.close()
            raise Unavailable(database_trouble(error)) from error

    async def _prepare(self, raw: "Connection[Record]", works: Sequence[Work]) -> None:
        now = time.time()
        times = [report.event.at for work in works for report in work.reports]
        times += [hit.at for work in works for hit in work.hits]
        days = self._partitions.missing(times, now)
        if days:
            await self._partitions.make(raw, days, now)
        await self._webhooks.refresh(raw)

    async def _commit(self, raw: "Connection[Record]", works: Sequence[Work]) -> Recorded:
        """Write in one transaction, and again if another tracker inserted a delivery between our look and our insert.

        It has committed by then, so that every time there is a row less to insert: this comes to an end.
        """
        careful = False
        while True:
            try:
                async with raw.transaction():
                    return await self._write(raw, works, careful=careful)
            except asyncpg.UniqueViolationError as error:
                if careful and error.table_name != "deliveries":
                    raise
                log.info("tracker.batch.raced", table=error.table_name)
                careful = True

    async def _write(self, raw: "Connection[Record]", works: Sequence[Work], *, careful: bool) -> Recorded:
        recorded = Recorded()
        # Cancels first: their lock is exclusive, and one that is asked for later would wait for others in a circle.
        cancels = [work.cancel for work in works if work.cancel]
        if cancels:
            await write_cancels(raw, cancels)
        parcels = [work.acceptance for work in works if work.acceptance]
        told = list(distinct(report for work in works for report in work.reports).values())
        questions = [work.question for work in works if work.question]
        if told_of := [work.override for work in works if work.override]:
            await write_overrides(raw, told_of)
        if parcels:
            await write_emails(raw, parcels)
        hits = [hit for work in works for hit in work.hits]
        stored = deliveries.Stored()
        if parcels or told or hits:
            ids = {delivery.id for parcel in parcels for delivery in parcel.deliveries}
            ids.update(hit.delivery for hit in hits)
            stored = await deliveries.lock(raw, ids.union(report.event.delivery for report in told))
            await reports.write(raw, told, stored, parcels, into=recorded, careful=careful)
            earlier = await told_before(raw, stored.met)
            # Only of rows that are locked, or made here: one that somebody else has made meanwhile is not counted yet.
            recorded.seen = await write_hits(raw, [hit for hit in hits if hit.delivery in stored.facts])
            add_hits(recorded.steps, recorded.seen, earlier, stored.facts)
            await self._webhooks.write(raw, recorded)
        recorded.counts = count(recorded.accepted, recorded.events, recorded.seen)
        await events.add_stats(raw, recorded.counts)
        await add_sessions(raw, recorded.events)
        await add_steps(raw, recorded.steps)
        if questions:
            known = await deliveries.read(raw, {ident for question in questions for ident in question.deliveries})
            recorded.answers = await answer(raw, questions, known, self._terms)
        return recorded


def blame(error: Exception) -> Blame:
    """What an error says about the batch and the database."""
    if isinstance(error, Unstorable):
        return Blame.DATA
    if isinstance(error, asyncpg.PostgresError):
        return Blame.DATA if (error.sqlstate or "").startswith(REFUSALS) else Blame.DATABASE
    if isinstance(error, asyncpg.InterfaceError):
        # Beside a closed connection this is a value that does not fit its column's type.
        return Blame.DATA if isinstance(error, ValueError) else Blame.DATABASE
    return Blame.DATABASE if isinstance(error, AWAY) else Blame.UNCLEAR
