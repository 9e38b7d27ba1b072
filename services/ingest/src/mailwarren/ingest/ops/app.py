"""The Celery application of ``ingest worker``: a task for each work, carried out in a thread with its own loop."""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from celery import Celery, Task
from celery.exceptions import Retry
from celery.worker import state

from mailwarren.contracts.codec import encode_order, order_headers
from mailwarren.contracts.order import Order, Work
from mailwarren.contracts.topology import OPS_KEY, Topology
from mailwarren.ingest.adapters.database import Database, DatabaseDown
from mailwarren.ingest.adapters.periodic import PeriodicJobs
from mailwarren.ingest.domain.retries import plan_retry
from mailwarren.ingest.ops import metrics
from mailwarren.ingest.ops.bench import REPEATED, Bench
from mailwarren.ingest.ops.consumer import Signs
from mailwarren.ingest.ops.jobs import ERRANDS, JOBS, Errand
from mailwarren.ingest.settings import OpsSettings

log = structlog.get_logger()

CONNECTIONS = 2
"""To Postgres for each order."""


@dataclass
class Shown:
    """What the health port shows of the consumer."""

    trouble: str | None = "the consumer has not connected to the broker yet"


def build_app(settings: OpsSettings) -> Celery:
    """A worker application; nothing connects before the worker starts."""
    topology = Topology(settings.amqp_prefix, settings.retry_scale)
    app = Celery("mailwarren-worker", broker=settings.amqp_url.get_secret_value())
    app.conf.update(celery_config(topology))
    app.topology = topology
    app.signs = Shown()
    app.steps["consumer"].add(Signs)
    for work in (*JOBS, *ERRANDS):
        app.register_task(_task(work, settings))
    return app


def celery_config(topology: Topology) -> dict[str, Any]:
    """The worker's configuration; the reasons are in ``docs/adr/0023``."""
    queue = topology.ops_queue
    queue.no_declare = True
    for bound in queue.bindings:
        bound.exchange.no_declare = True
    return {
        # The queue's arguments are how Celery learns that it is a quorum queue, which has no global QoS.
        "task_queues": [queue],
        "task_default_queue": queue.name,
        "task_default_exchange": topology.ops_tasks.name,
        "task_default_exchange_type": "direct",
        "task_default_routing_key": OPS_KEY,
        "task_create_missing_queues": False,
        "task_acks_late": True,
        # A failure is rejected, and so reaches ops.dead.
        "task_acks_on_failure_or_timeout": False,
        "task_track_started": True,
        "task_ignore_result": True,
        "accept_content": ["json"],
        "worker_consumer": "mailwarren.ingest.ops.consumer:OpsConsumer",
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,
        "worker_enable_remote_control": True,
        "control_exchange": topology.name("celery"),
        "event_exchange": topology.name("celeryev"),
        "event_queue_prefix": topology.name("celeryev"),
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        "broker_heartbeat": 30,
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "broker_transport_options": {"confirm_publish": True},
    }


def _task(work: Work, settings: OpsSettings) -> Task:
    class OpsTask(Task):
        """Carries out orders of one work."""

        name = work.value
        Strategy = "mailwarren.ingest.ops.consumer:strategy"

        def run(self, order: dict[str, Any]) -> str:
            """One try; the text is what Flower shows as the result.

            Raises:
                Retry: the order waits for its next try, which is in the broker already.
            """
            return _try(self.app, settings, msgspec.convert(order, Order))

    return OpsTask()


def _try(app: Any, settings: OpsSettings, order: Order) -> str:
    began = time.monotonic()
    metrics.record_started()
    result = "failed"
    bound = {"work": order.work, "order": str(order.id), "attempt": order.attempt}
    try:
        said = asyncio.run(_carry_out(settings, order))
        result = "repeated" if said == REPEATED else "done"
        log.info("worker.order.done", said=said, **bound)
    except Exception as error:
        waits: tuple[str, ...] = app.topology.ops_rungs
        plan = plan_retry(order.attempt, len(waits), away=isinstance(error, DatabaseDown))
        if plan is None:
            metrics.record_set_aside("failed")
            log.exception("worker.order.failed", **bound)
            raise
        rung, attempt = plan
        _publish_again(app, msgspec.structs.replace(order, attempt=attempt), waits[rung])
        result = "again"
        log.warning("worker.order.again", wait=waits[rung], error=f"{type(error).__name__}: {error}", **bound)
        raise Retry(f"{type(error).__name__}: {error}", exc=error) from error
    else:
        return said
    finally:
        metrics.record_ended(order.work, result, time.monotonic() - began)


async def _carry_out(settings: OpsSettings, order: Order) -> str:
    async with Database(settings.database_url.get_secret_value(), CONNECTIONS) as database:
        bench = Bench(database, settings, lambda: state.should_stop is not None or state.should_terminate is not None)
        if (work := Work(order.work)) in ERRANDS:
            return await _run_errand(ERRANDS[work], bench, order)
        jobs = PeriodicJobs(database)
        if not await jobs.start(order):
            return REPEATED
        try:
            said = await JOBS[work](bench)
        except Exception as error:
            last = plan_retry(order.attempt, 1, away=isinstance(error, DatabaseDown)) is None
            with contextlib.suppress(DatabaseDown):
                await jobs.fail(order, f"{type(error).__name__}: {error}", last=last)
            raise
        await jobs.end(order, said)
        return said


async def _run_errand(errand: Errand, bench: Bench, order: Order) -> str:
    if order.subject is None:
        raise ValueError(f"an order for {order.work} has to name its subject")
    try:
        return await errand.carry_out(bench, order)
    except Exception as error:
        if plan_retry(order.attempt, 1, away=isinstance(error, DatabaseDown)) is None:
            # When the database is away now, that is the error, and the order comes again until this could be noted.
            await errand.give_up(bench, order, f"{type(error).__name__}: {error}")
        raise


def _publish_again(app: Any, order: Order, wait: str) -> None:
    """Confirmed, before the message of this try is acked."""
    with app.producer_pool.acquire(block=True) as producer:
        producer.publish(
            encode_order(order),
            exchange=app.topology.ops_retry.name,
            routing_key=wait,
            headers=order_headers(order),
            content_type="application/json",
            content_encoding="utf-8",
            correlation_id=str(order.id),
            delivery_mode=2,
            mandatory=True,
            retry=False,
        )
