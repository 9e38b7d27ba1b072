"""The composition root: ``tracker consume``."""

import argparse
import asyncio
import contextlib
from collections.abc import Sequence

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from mailwarren.contracts.lanes import BUDGETS
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.runtime.collector import calm_collector
from mailwarren.runtime.health import Health, HealthServer
from mailwarren.runtime.loop import watch_loop
from mailwarren.runtime.observe import observe
from mailwarren.runtime.settings import load
from mailwarren.runtime.shutdown import stop_on_signals
from mailwarren.store.engine import AWAY, database_trouble, driver_connect, make_engine
from mailwarren.store.history import trouble
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
SCHEMA_LOOK_AGAIN = 15.0
"""The same while it runs: a newer version may contract the schema under this one."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tracker", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("consume", help="write acceptances and outcomes into Postgres")
    parser.parse_args(arguments)

    import uvloop

    settings = load(TrackerSettings, "tracker")
    observe("tracker", settings)
    calm_collector()
    uvloop.run(consume(settings))


async def consume(settings: TrackerSettings) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = stop_on_signals()
    health = Health("tracker")
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=3, application_name="mailwarren-tracker")
    schema = Schema(engine)
    health.add("schema", lambda: schema.trouble)
    with HealthServer(health, settings.metrics_host, settings.metrics_port) as server:
        log.info("tracker.start", metrics_port=server.port)
        turning = asyncio.create_task(watch_loop("tracker"))
        try:
            while await schema.wait(stop):
                async with asyncio.TaskGroup() as group:
                    # Ends with the schema, and then it is waited for again: nothing is taken that cannot be written.
                    halt = asyncio.Event()
                    watching = group.create_task(schema.watch(stop, halt), name="schema")
                    await _run(settings, engine, health, halt)
                    watching.cancel()
        finally:
            turning.cancel()
            await engine.dispose()
    log.info("tracker.stopped")


class Schema:
    """Whether the schema is one that this version can work with: what it would write to another would be refused."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self.trouble: str | None = "the schema has not been looked at yet"

    async def wait(self, stop: asyncio.Event) -> bool:
        """Return true when the schema serves, false when ``stop`` was set before."""
        told = ""
        while not stop.is_set():
            await self._look()
            if self.trouble is None:
                return True
            if self.trouble != told:
                log.warning("tracker.schema.waiting", why=self.trouble)
                told = self.trouble
            await _pause(stop, SCHEMA_LOOK)
        return False

    async def watch(self, stop: asyncio.Event, halt: asyncio.Event) -> None:
        """Set ``halt`` when ``stop`` is set, or when the schema does not serve any more."""
        while not stop.is_set():
            await _pause(stop, SCHEMA_LOOK_AGAIN)
            try:
                async with driver_connect(self._engine) as connection:
                    self.trouble = await trouble(connection)
            except AWAY as error:
                log.debug("tracker.schema.unseen", error=database_trouble(error))
            if self.trouble is not None:
                log.warning("tracker.schema.lost", why=self.trouble)
                break
        halt.set()

    async def _look(self) -> None:
        try:
            async with driver_connect(self._engine) as connection:
                self.trouble = await trouble(connection)
        except AWAY as error:
            self.trouble = database_trouble(error)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


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
    upkeep = Upkeep(engine, partitions, UNCONFIRMED_FOR * settings.retry_scale, budgets)
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
