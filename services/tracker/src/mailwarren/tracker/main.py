"""The composition root: ``tracker consume``."""

import argparse
import asyncio
from collections.abc import Sequence

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.runtime.collector import calm_collector
from mailwarren.runtime.health import Health, HealthServer
from mailwarren.runtime.logs import configure_logging
from mailwarren.runtime.shutdown import stop_on_signals
from mailwarren.store.engine import AWAY, make_engine
from mailwarren.tracker.adapters.broker import BrokerOutbox, queues_of
from mailwarren.tracker.adapters.inbox import QueueInbox
from mailwarren.tracker.adapters.partitions import Partitions
from mailwarren.tracker.adapters.store import PostgresLedger
from mailwarren.tracker.consume import Consumer
from mailwarren.tracker.domain.settle import Terms
from mailwarren.tracker.record import Recorder
from mailwarren.tracker.settings import TrackerSettings
from mailwarren.tracker.upkeep import UNCONFIRMED_FOR, Upkeep

log = structlog.get_logger()

SCHEMA_LOOK = 1.0


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tracker", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("consume", help="write acceptances and outcomes into Postgres")
    parser.parse_args(arguments)

    import uvloop

    settings = TrackerSettings()
    configure_logging("tracker", settings.log_level)
    calm_collector()
    uvloop.run(consume(settings))


async def consume(settings: TrackerSettings) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = stop_on_signals()
    health = Health()
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=3, application_name="mailwarren-tracker")
    with HealthServer(health, settings.metrics_host, settings.metrics_port) as server:
        log.info("tracker.start", metrics_port=server.port)
        ready = False
        health.add("schema", lambda: ready)
        try:
            ready = await _schema(engine, stop)
            if ready:
                await _run(settings, engine, health, stop)
        finally:
            await engine.dispose()
    log.info("tracker.stopped")


async def _schema(engine: AsyncEngine, stop: asyncio.Event) -> bool:
    """Wait for the migrations that this version needs: what it would write to another schema would be refused."""
    told = ""
    while not stop.is_set():
        try:
            if await is_current(engine):
                return True
            why = "the migrations have not run"
        except AWAY as error:
            why = f"{type(error).__name__}: {error}"
        if why != told:
            log.warning("tracker.schema.waiting", why=why)
            told = why
        try:
            async with asyncio.timeout(SCHEMA_LOOK):
                await stop.wait()
        except TimeoutError:
            continue
    return False


async def _run(settings: TrackerSettings, engine: AsyncEngine, health: Health, stop: asyncio.Event) -> None:
    topology = Topology(settings.amqp_prefix, settings.retry_scale)
    queues = queues_of(topology)
    partitions = Partitions(settings.tracker_events_days)
    link = Link(settings.amqp_url.get_secret_value(), "tracker")
    publisher = Publisher(link)
    inbox = QueueInbox(link, queues, settings.tracker_prefetch, settings.tracker_octets)
    # Twice: as long again for what comes before the final dot.
    ledger = PostgresLedger(engine, partitions, Terms(settings.settle_timeout, 2 * settings.dot_timeout))
    upkeep = Upkeep(engine, partitions, UNCONFIRMED_FOR * settings.retry_scale)
    recorder = Recorder(
        ledger,
        BrokerOutbox(link, publisher, topology),
        abandon=lambda message: stop.is_set() or not inbox.current(message),
    )
    consumer = Consumer(
        inbox, recorder, limit=settings.tracker_batch_rows, wait=settings.tracker_batch_wait, ours=queues
    )
    health.add("broker", lambda: inbox.consuming)
    health.add("database", lambda: recorder.available and upkeep.available)
    async with link, asyncio.TaskGroup() as group:
        group.create_task(upkeep.run(stop), name="upkeep")
        await consumer.run(stop)
        await inbox.close()
    await ledger.close()
