"""``ingest scheduler``: gives workers and senders what is due. Any number of replicas.

Each row is released by one of them.

An order is confirmed by the broker before its row is committed. A scheduler that dies in between publishes nothing
twice that would be carried out twice: the order's id comes from the job and the time that it was due.
"""

import asyncio
import contextlib
import time
from datetime import timedelta
from typing import Protocol

import structlog

from mailwarren.contracts.codec import encode_order, order_headers
from mailwarren.contracts.order import Order
from mailwarren.contracts.topology import OPS_KEY, Topology
from mailwarren.ingest.adapters.broker import Broker
from mailwarren.ingest.adapters.database import Database, DatabaseDown
from mailwarren.ingest.adapters.depths import Depths
from mailwarren.ingest.adapters.domains import Domains
from mailwarren.ingest.adapters.expansions import Expansions
from mailwarren.ingest.adapters.import_work import ImportWork
from mailwarren.ingest.adapters.periodic import AT_ONCE, PeriodicJobs
from mailwarren.ingest.adapters.privacy_work import PrivacyWork
from mailwarren.ingest.adapters.releases import Releases
from mailwarren.ingest.adapters.schema import Schema
from mailwarren.ingest.adapters.sending_domains import SendingDomains
from mailwarren.ingest.adapters.suppressions import Suppressions
from mailwarren.ingest.broadcast_orders import BroadcastOrders
from mailwarren.ingest.domain.admission import Marks
from mailwarren.ingest.import_orders import ImportOrders
from mailwarren.ingest.ops import metrics
from mailwarren.ingest.ops.jobs import periods
from mailwarren.ingest.privacy_orders import PrivacyOrders
from mailwarren.ingest.release import ScheduledMail
from mailwarren.ingest.settings import OpsSettings
from mailwarren.runtime.amqp import Link, Publisher, PublishError
from mailwarren.runtime.health import Health, HealthServer
from mailwarren.runtime.loop import watch_loop
from mailwarren.runtime.metrics import record_service
from mailwarren.runtime.shutdown import stop_on_signals
from mailwarren.runtime.tasks import end
from mailwarren.store.engine import database_trouble
from mailwarren.store.states import DomainState

log = structlog.get_logger()

SHOW_EVERY = 5.0
"""Seconds between two looks at how it stands with the jobs."""


SHOW_DOMAINS_EVERY = 15.0
"""The same for domains."""
SUPPRESSIONS_WITHIN = 4.0
"""Seconds: nobody waits for the scheduler's answer, and mail is never released unchecked."""


class Source(Protocol):
    """Something that becomes due: periodic jobs, broadcasts, scheduled mail, imports."""

    async def release(self) -> bool:
        """Give what is due to those who do it, a bounded number of rows; whether more may be due.

        Raises:
            DatabaseDown: nothing is known.
            PublishError: the broker did not confirm; the rows are still due.
        """


class Periodic:
    """The source of periodic jobs.

    Args:
        jobs: their table.
        publisher: to the broker.
        topology: its names.
        every: the jobs of this version, and how many seconds apart they run.
    """

    def __init__(self, jobs: PeriodicJobs, publisher: Publisher, topology: Topology, every: dict[str, float]) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._exchange = topology.ops_tasks.name
        self._every = every
        self._registered = False
        self._look_at = 0.0
        self._done: dict[str, float] = {}

    async def release(self) -> bool:
        """See :class:`Source`."""
        if not self._registered:
            await self._jobs.register(self._every)
            self._registered = True
        # Before anything is released: of a run that is under way nobody knows how the one before it ended.
        await self._show()
        async with self._jobs.due(list(self._every)) as due:
            for one in due:
                await self._publish(one.order)
        for one in due:
            metrics.record_released(one.order.work, one.late)
            log.info("scheduler.released", work=one.order.work, order=str(one.order.id), late=round(one.late, 3))
        return len(due) == AT_ONCE

    async def _show(self) -> None:
        """The jobs' states as gauges: every scheduler shows those of all, so that any number may be gone."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + SHOW_EVERY
        for job in await self._jobs.states(list(self._every)):
            # A scheduler that has just started counts from its start.
            done = self._done[job.work] = job.done_at or self._done.get(job.work, job.at)
            metrics.record_job(job.work, job.every, max(job.overdue, job.at - done - job.every), job.done_at)

    async def _publish(self, order: Order) -> None:
        await self._publisher.publish(self._exchange, OPS_KEY, encode_order(order), order_headers(order))


class DomainStates:
    """Shows how it stands with the sending domains, as :class:`Periodic` does with jobs; nothing becomes due here.

    Args:
        domains: their table.
    """

    def __init__(self, domains: Domains) -> None:
        self._domains = domains
        self._look_at = 0.0

    async def release(self) -> bool:
        """See :class:`Source`."""
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + SHOW_DOMAINS_EVERY
            states = await self._domains.states()
            broken = sum(once for state, (_, once) in states.items() if state is not DomainState.VERIFIED)
            metrics.record_domains({state: number for state, (number, _) in states.items()}, broken)
        return False


class Scheduler:
    """Asks its sources, for ever.

    Args:
        sources: what becomes due.
        interval: seconds between two rounds.
    """

    def __init__(self, sources: list[Source], interval: float) -> None:
        self._sources = sources
        self._interval = interval
        self.trouble: str | None = "nothing was looked at yet"
        """Why the last round did not come to its end; None when it did."""

    async def run(self, stop: asyncio.Event, schema: Schema) -> None:
        """Until ``stop`` is set; nothing is released while the schema does not serve this version."""
        while not stop.is_set():
            began = time.monotonic()
            if schema.trouble is None:
                await self._round(stop)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.05, self._interval - (time.monotonic() - began))):
                    await stop.wait()

    async def _round(self, stop: asyncio.Event) -> None:
        try:
            # In turns: a source with a long backlog keeps no other waiting.
            while any([await source.release() for source in self._sources]) and not stop.is_set():
                metrics.record_round()
        except DatabaseDown as error:
            self._note(database_trouble(error.__cause__ or error))
        except PublishError as error:
            self._note(f"the broker did not take what is due: {type(error).__name__}: {error}")
        except Exception as error:
            # A source that is broken must not end the others' process again and again.
            log.exception("scheduler.round.failed")
            self._note(f"{type(error).__name__}: {error}")
        else:
            self.trouble = None
            metrics.record_round()

    def _note(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("scheduler.round.cut_short", why=trouble)
        self.trouble = trouble


async def run_scheduler(settings: OpsSettings) -> None:
    """Until SIGTERM or SIGINT."""
    stop = stop_on_signals()
    record_service("scheduler")
    topology = Topology(settings.amqp_prefix, settings.retry_scale)
    link = Link(settings.amqp_url.get_secret_value(), "scheduler")
    publisher = Publisher(link)
    database = Database(settings.database_url.get_secret_value(), 3)
    schema = Schema(database)
    management = settings.management_url
    depths = Depths(link, topology, settings.depth_interval, management.get_secret_value() if management else None)
    broker, overdue = Broker(publisher, topology), timedelta(seconds=settings.schedule_overdue)
    domains = SendingDomains(database, bounce_host=settings.bounce_host, tracking=settings.tracking_links())
    mail = ScheduledMail(
        Releases(database, overdue),
        broker,
        depths,
        Marks(settings.max_depth, settings.max_tracker_depth),
        Suppressions(database, SUPPRESSIONS_WITHIN),
        domains=domains,
        links=settings.unsubscribe_links(),
    )
    periodic = Periodic(PeriodicJobs(database), publisher, topology, periods(settings))
    imports = ImportOrders(ImportWork(database), publisher, topology, settings.imports_at_once)
    privacy = PrivacyOrders(PrivacyWork(database), publisher, topology)
    broadcasts = BroadcastOrders(Expansions(database), broker, overdue)
    states = DomainStates(Domains(database))
    scheduler = Scheduler([periodic, states, broadcasts, mail, imports, privacy], settings.scheduler_interval)
    health = Health("scheduler")
    health.add("schema", lambda: schema.trouble)
    health.add("broker", lambda: link.trouble)
    health.add("release", lambda: scheduler.trouble)
    with HealthServer(health, settings.metrics_host, settings.metrics_port) as server:
        log.info("scheduler.start", metrics_port=server.port)
        async with database, link:
            with contextlib.suppress(DatabaseDown):
                await domains.refresh()
            works = (schema.follow(), depths.follow(), domains.follow(), watch_loop("scheduler"))
            beside = [asyncio.create_task(work) for work in works]
            await scheduler.run(stop, schema)
            await end(beside)
    log.info("scheduler.stopped")
