"""What stands around the work of a command: the schema, the health port, the signals."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from mailwarren.runtime.health import Health, HealthServer
from mailwarren.runtime.loop import watch_loop
from mailwarren.runtime.settings import Settings
from mailwarren.runtime.shutdown import stop_on_signals
from mailwarren.tracker.schema import Schema

log = structlog.get_logger()


async def serve(
    name: str, settings: Settings, engine: AsyncEngine, health: Health, work: Callable[[asyncio.Event], Awaitable[None]]
) -> None:
    """Work until SIGTERM or SIGINT, whenever the schema is one that this version can work with.

    Args:
        name: of the process.
        settings: where its health port is.
        engine: closed at the end.
        health: what ``/readyz`` asks; the schema is added.
        work: ends soon after the event that it is given.
    """
    stop = stop_on_signals()
    schema = Schema(engine)
    health.add("schema", lambda: schema.trouble)
    with HealthServer(health, settings.metrics_host, settings.metrics_port) as server:
        log.info("tracker.start", metrics_port=server.port)
        turning = asyncio.create_task(watch_loop(name))
        try:
            while await schema.wait(stop):
                async with asyncio.TaskGroup() as group:
                    # Ends with the schema, and then it is waited for again: nothing is taken that cannot be written.
                    halt = asyncio.Event()
                    watching = group.create_task(schema.watch(stop, halt), name="schema")
                    await work(halt)
                    watching.cancel()
        finally:
            turning.cancel()
            await engine.dispose()
    log.info("tracker.stopped")
