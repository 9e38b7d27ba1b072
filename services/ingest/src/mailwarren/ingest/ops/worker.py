"""``ingest worker``: starts Celery's worker in this process, with a health port beside it."""

import asyncio
import os
import socket
import threading

import structlog
from celery import signals
from celery.concurrency import get_implementation

from mailwarren.ingest.adapters.database import Database
from mailwarren.ingest.adapters.schema import Schema
from mailwarren.ingest.ops import metrics
from mailwarren.ingest.ops.app import build_app
from mailwarren.ingest.settings import OpsSettings
from mailwarren.runtime.health import Health, HealthServer
from mailwarren.runtime.metrics import record_service
from mailwarren.runtime.observe import observe

log = structlog.get_logger()


def run_worker(settings: OpsSettings) -> int:
    """Carry out orders until SIGTERM or SIGINT, and those in hand to their end; the exit status."""
    record_service("worker")
    metrics.record_slots(settings.worker_concurrency)
    app = build_app(settings)

    def logs(**_: object) -> None:
        observe("worker", settings)

    # Celery would set up its own logging; its signals hold weak references.
    signals.setup_logging.connect(logs, weak=False)
    schema = _SchemaThread(settings)
    health = Health("worker")
    health.add("consumer", lambda: app.signs.trouble)
    health.add("schema", lambda: schema.trouble)
    with HealthServer(health, settings.metrics_host, settings.metrics_port) as server:
        schema.start()
        name = f"{settings.amqp_prefix}{settings.worker_name}@{socket.gethostname()}"
        log.info("worker.start", name=name, concurrency=settings.worker_concurrency, metrics_port=server.port)
        worker = app.Worker(
            hostname=name,
            pool_cls=get_implementation("threads"),
            concurrency=settings.worker_concurrency,
            queues=[app.topology.ops_queue.name],
            task_events=True,
            without_gossip=True,
            without_mingle=True,
            loglevel=settings.log_level,
            quiet=True,
        )
        worker.start()
        log.info("worker.stopped", status=worker.exitcode)
        return int(worker.exitcode or 0)


class _SchemaThread:
    """Looks at the database's schema for as long as the process runs."""

    def __init__(self, settings: OpsSettings) -> None:
        self._url = settings.database_url.get_secret_value()
        self._schema: Schema | None = None

    @property
    def trouble(self) -> str | None:
        return self._schema.trouble if self._schema else "the schema has not been looked at yet"

    def start(self) -> None:
        threading.Thread(target=self._run, name="schema", daemon=True).start()

    def _run(self) -> None:
        try:
            asyncio.run(self._follow())
        except Exception:
            log.exception("worker.schema.died")
            # Nobody would see any more that this worker is of the wrong version. Unacked orders go to another.
            os._exit(1)

    async def _follow(self) -> None:
        async with Database(self._url, 2) as database:
            self._schema = Schema(database)
            await self._schema.follow()
