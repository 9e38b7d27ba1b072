"""The errand of a privacy request: an export or an erasure, batch by batch, until it has ended."""

from datetime import timedelta

import structlog

from mailwarren.contracts.order import Order
from mailwarren.ingest.adapters.database import DatabaseDown
from mailwarren.ingest.adapters.erasing import NotYet
from mailwarren.ingest.adapters.privacy_work import Job, NotHeld, PrivacyWork
from mailwarren.ingest.ops import metrics
from mailwarren.ingest.ops.bench import REPEATED, Bench

log = structlog.get_logger()

AGAIN = timedelta(minutes=1)
"""Between two looks whether mail to an address has ended."""


async def carry_out(bench: Bench, order: Order) -> str:
    """Go on with the order's request until it has ended, has to wait, or the worker stops."""
    work = PrivacyWork(bench.database)
    job = await work.take(order)
    if job is None:
        return REPEATED
    log.info("worker.privacy.taken", request=str(order.subject), tenant=str(job.whose.tenant), kind=job.kind.value)
    try:
        return await _run(bench, work, job)
    except DatabaseDown:
        raise
    except Exception:
        # The order's next try may be five minutes away; the scheduler gives no other before it.
        await work.postpone(job)
        raise


async def give_up(bench: Bench, order: Order, trouble: str) -> None:
    """The last try failed."""
    log.error("worker.privacy.given_up", request=str(order.subject), trouble=trouble)
    if order.subject is not None:
        await PrivacyWork(bench.database).fail(
            order.subject, order.id, "It failed on our side; ask again, and it goes on with what is left."
        )


async def _run(bench: Bench, work: PrivacyWork, job: Job) -> str:
    while not job.ended:
        if bench.stopping():
            await work.leave(job, timedelta())
            return f"{_told(job)}; stopped before the end"
        try:
            job = await work.step(job)
        except NotYet:
            await work.leave(job, AGAIN)
            return f"{_told(job)}; mail to the address is under way"
        except NotHeld:
            return "nothing more: it was deleted, or another worker has it"
    metrics.record_privacy_ended(job.kind.value)
    whose = job.whose
    log.info("worker.privacy.completed", request=str(whose.request), tenant=str(whose.tenant), counts=job.counts)
    return _told(job)


def _told(job: Job) -> str:
    return f"{job.kind.value}: " + (", ".join(f"{n} {name}" for name, n in job.counts.items() if n) or "nothing")
