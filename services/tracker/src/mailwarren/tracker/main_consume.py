"""The composition root of ``tracker consume``."""

import asyncio
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from mailwarren.contracts.lanes import BUDGETS
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.runtime.health import Health
from mailwarren.runtime.metrics import record_service
from mailwarren.store.engine import make_engine
from mailwarren.tracker.adapters.breakers import Breakers
from mailwarren.tracker.adapters.broker import BrokerOutbox, queues_of
from mailwarren.tracker.adapters.control_log import ControlLogWriter
from mailwarren.tracker.adapters.inbox import QueueInbox
from mailwarren.tracker.adapters.partitions import Partitions
from mailwarren.tracker.adapters.store import PostgresLedger
from mailwarren.tracker.consume import Consumer
from mailwarren.tracker.domain.settle import Terms
from mailwarren.tracker.record import Recorder
from mailwarren.tracker.serve import serve
from mailwarren.tracker.settings import TrackerSettings
from mailwarren.tracker.upkeep import UNCONFIRMED_FOR, Upkeep


async def consume(settings: TrackerSettings) -> None:
    """Run until SIGTERM or SIGINT."""
    record_service("tracker")
    health = Health("tracker")
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=3, application_name="mailwarren-tracker")
    await serve("tracker", settings, engine, health, partial(_run, settings, engine, health))


async def _run(settings: TrackerSettings, engine: AsyncEngine, health: Health, stop: asyncio.Event) -> None:
    topology = Topology(settings.amqp_prefix, settings.retry_scale)
    queues = queues_of(topology)
    partitions = Partitions(settings.tracker_events_days)
    link = Link(settings.amqp_url.get_secret_value(), "tracker")
    publisher = Publisher(link)
    inbox = QueueInbox(link, queues, settings.tracker_prefetch, settings.tracker_octets)
    # Twice: as long again for what comes before the final dot.
    ledger = PostgresLedger(engine, partitions, Terms(settings.settle_timeout, 2 * settings.dot_timeout))
    budgets = {lane: seconds * settings.retry_scale for lane, seconds in BUDGETS.items()}
    breakers = Breakers(ControlLogWriter(publisher, topology), settings.breaker)
    upkeep = Upkeep(engine, partitions, UNCONFIRMED_FOR * settings.retry_scale, budgets, breakers)
    recorder = Recorder(
        ledger,
        BrokerOutbox(link, publisher, topology),
        abandon=lambda message: stop.is_set() or not inbox.current(message),
    )
    consumer = Consumer(
        inbox, recorder, limit=settings.tracker_batch_rows, wait=settings.tracker_batch_wait, ours=queues
    )
    health.add("broker", lambda: inbox.trouble)
    health.add("database", lambda: recorder.trouble or upkeep.trouble)
    health.add("versions", lambda: inbox.newer)
    async with link, asyncio.TaskGroup() as group:
        group.create_task(upkeep.run(stop), name="upkeep")
        await consumer.run(stop)
        await inbox.close()
    await ledger.close()
