"""The errand of an import: its file, batch by batch, into contacts.

Memory is bounded by the window: some pieces of the file, and two batches. While one batch is written the next is read
in a thread.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from mailwarren.contracts.order import Order
from mailwarren.ingest.adapters.database import DatabaseDown
from mailwarren.ingest.adapters.import_work import PATIENCE, ImportWork, Job, NotHeld, Place, PropertyGone, Written
from mailwarren.ingest.domain.imports.head import empty
from mailwarren.ingest.domain.imports.records import AHEAD, Part, read_records
from mailwarren.ingest.domain.imports.rows import Batch, Reading
from mailwarren.ingest.domain.properties import Property
from mailwarren.ingest.ops import metrics
from mailwarren.ingest.ops.bench import REPEATED, Bench
from mailwarren.ingest.ops.telling import Telling

log = structlog.get_logger()

BATCH = 1_000
"""Rows written at once."""
CHUNKS = 4
"""Pieces of the file that are fetched at once."""
SPAN = 512 * 1024
"""Octets that a batch of ordinary rows has room in."""


@dataclass(frozen=True, slots=True)
class Step:
    """A batch that is read and not written."""

    batch: Batch
    place: Place


class FileGone(Exception):
    """Pieces of the file are missing."""


class Window:
    """The part of a file around where it is read; every piece is fetched once."""

    def __init__(self, work: ImportWork, job: Job) -> None:
        self._work = work
        self._job = job
        self._text = b""
        self._starts = 0

    async def at(self, position: int) -> tuple[bytes, int, bool]:
        """A part with enough behind ``position``, where it begins, and whether it reaches to the end of the file."""
        if self._enough(position):
            return self._shown()
        if self._starts <= position <= self._ends and self._text:
            self._text, self._starts = self._text[position - self._starts :], position
        else:
            self._starts, self._text = await self._work.text(self._job, position, CHUNKS)
        while not self._enough(position):
            starts, more = await self._work.text(self._job, self._ends, CHUNKS)
            if starts != self._ends or not more:
                raise FileGone
            self._text += more
        return self._shown()

    def _shown(self) -> tuple[bytes, int, bool]:
        return self._text, self._starts, self._ends >= self._job.size

    @property
    def _ends(self) -> int:
        return self._starts + len(self._text)

    def _enough(self, position: int) -> bool:
        return self._starts <= position and (self._ends >= self._job.size or self._ends - position > AHEAD + SPAN)


async def carry_out(bench: Bench, order: Order) -> str:
    """Go on with the order's import until it has ended, or the worker stops."""
    work = ImportWork(bench.database)
    job = await work.take(order)
    if job is None:
        return REPEATED
    log.info("worker.import.taken", import_id=str(job.id), tenant=str(job.tenant), rows=job.rows)
    try:
        async with Telling(bench.settings) as telling:
            return await _run(bench, work, job, telling)
    except DatabaseDown:
        raise
    except Exception:
        # The order's next try may be five minutes away; the scheduler gives no other before it.
        await work.leave(job, PATIENCE)
        raise


async def give_up(bench: Bench, order: Order, trouble: str) -> None:
    """The last try failed."""
    log.error("worker.import.given_up", import_id=str(order.subject), trouble=trouble)
    if order.subject is not None:
        await ImportWork(bench.database).fail(
            order.subject, order.id, "It failed on our side; what was imported stays."
        )


async def _run(bench: Bench, work: ImportWork, job: Job, telling: Telling) -> str:
    declared = {item.key: item for item in await work.declared(job)}
    used = [declared[key] for key in job.plan.columns.properties if key in declared]
    if len(used) < len(job.plan.columns.properties):
        gone = min(set(job.plan.columns.properties) - declared.keys())
        return await _failed(work, job, f"The contact property `{gone}` was deleted.")
    window = Window(work, job)
    reading = Reading(job.plan.names, job.plan.columns, used)
    step = await _read(window, job, reading)
    while True:
        if step.place.ended and job.rows + _rows(step.batch) == 0:
            return await _failed(work, job, empty().message)
        # The next batch is read while the database works on this one.
        written, following = await asyncio.gather(
            _write(work, telling, job, step, used), _following(window, job, step, reading), return_exceptions=True
        )
        if isinstance(written, NotHeld):
            return "nothing more: it was canceled, or another worker has it"
        if isinstance(written, PropertyGone):
            return await _failed(work, job, f"The contact property `{written}` was deleted.")
        if isinstance(written, BaseException):
            raise written
        job = _after(job, step, written.failed)
        if isinstance(following, BaseException):
            raise following
        if following is None:
            log.info(
                "worker.import.completed",
                import_id=str(job.id),
                tenant=str(job.tenant),
                rows=job.rows,
                failed=job.failed,
            )
            return f"{job.rows} rows, {job.failed} failed"
        if bench.stopping():
            await work.leave(job, timedelta())
            return f"{job.rows} rows; stopped before the end"
        step = following


async def _write(work: ImportWork, telling: Telling, job: Job, step: Step, used: Sequence[Property]) -> Written:
    written = await work.write(job, step.batch, step.place, used)
    for result in ("created", "updated", "skipped", "failed"):
        metrics.record_import_rows(result, getattr(written, result))
    await telling.tell(job.tenant, written.moved)
    return written


async def _read(window: Window, job: Job, reading: Reading) -> Step:
    """The next batch; ``job`` says where."""
    text, starts, whole = await window.at(job.position)

    def read() -> tuple[Part, Batch]:
        part = read_records(text, starts, (job.position, job.line), job.plan.delimiter, BATCH, whole=whole)
        return part, reading.read(part.records, job.rows)

    part, batch = await asyncio.to_thread(read)
    return Step(batch, Place(job.position, part.position, part.line, part.ended))


async def _following(window: Window, job: Job, step: Step, reading: Reading) -> Step | None:
    return None if step.place.ended else await _read(window, _after(job, step, 0), reading)


def _rows(batch: Batch) -> int:
    return len(batch.rows) + len(batch.failures)


def _after(job: Job, step: Step, failed: int) -> Job:
    """The job behind a batch."""
    return replace(
        job,
        position=step.place.after,
        line=step.place.line,
        rows=job.rows + _rows(step.batch),
        failed=job.failed + failed,
    )


async def _failed(work: ImportWork, job: Job, why: str) -> str:
    await work.fail(job.id, job.holder, why)
    log.warning("worker.import.failed", import_id=str(job.id), tenant=str(job.tenant), why=why)
    return why
