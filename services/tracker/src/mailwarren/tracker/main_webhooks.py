"""The composition root of ``tracker webhooks``."""

import asyncio
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from mailwarren.runtime.health import Health
from mailwarren.runtime.vault import Vault
from mailwarren.store.engine import make_engine
from mailwarren.tracker.adapters.kept import Kept
from mailwarren.tracker.adapters.receivers import Receivers
from mailwarren.tracker.serve import serve
from mailwarren.tracker.settings import WebhookSettings
from mailwarren.tracker.webhooks.dispatch import Dispatcher, Limits
from mailwarren.tracker.webhooks.results import Results
from mailwarren.tracker.webhooks.upkeep import WebhookUpkeep

DAY = 86400.0


async def tell_webhooks(settings: WebhookSettings, vault: Vault | None) -> None:
    """Run until SIGTERM or SIGINT."""
    health = Health("webhooks")
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=3, application_name="mailwarren-webhooks")
    await serve("webhooks", settings, engine, health, partial(_run, settings, vault, engine, health))


async def _run(
    settings: WebhookSettings, vault: Vault | None, engine: AsyncEngine, health: Health, stop: asyncio.Event
) -> None:
    claiming, writing = Kept(engine), Kept(engine)
    limits = Limits(
        each=settings.webhooks_each,
        all=settings.webhooks_all,
        timeout=settings.webhooks_timeout,
        interval=settings.webhooks_interval,
        scale=settings.retry_scale,
    )
    receivers = Receivers(private=settings.private_webhooks, timeout=limits.timeout, most=limits.each)
    results = Results(writing)
    dispatcher = Dispatcher(claiming, receivers, results, vault, limits)
    upkeep = WebhookUpkeep(engine, settings.webhooks_give_up_days * DAY, settings.webhooks_days)
    health.add("database", lambda: dispatcher.trouble or results.trouble)
    ended = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(upkeep.run(stop), name="upkeep")
            group.create_task(results.run(ended), name="results")
            group.create_task(_tell_stopping(stop, results), name="stopping")
            await dispatcher.run(stop)
            # Who puts results has ended.
            ended.set()
    finally:
        await receivers.close()
        await claiming.close()
        await writing.close()


async def _tell_stopping(stop: asyncio.Event, results: Results) -> None:
    await stop.wait()
    results.stopping = True
