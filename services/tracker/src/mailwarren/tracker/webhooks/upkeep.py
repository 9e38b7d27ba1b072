"""Beside the dispatcher: endpoints and events are given up, and what is past its use is forgotten."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from mailwarren.store.engine import driver_connect
from mailwarren.store.states import WebhookState
from mailwarren.tracker.adapters import webhook_upkeep
from mailwarren.tracker.adapters.webhook_upkeep import AT_ONCE
from mailwarren.tracker.domain.webhook_retries import LIFETIME
from mailwarren.tracker.webhooks import metrics
from mailwarren.tracker.webhooks.told import tell_given_up

log = structlog.get_logger()

LOOK_EVERY = 30.0
TIDY_EVERY = 3600.0


class WebhookUpkeep:
    """Periodic work over connections of its own.

    Args:
        engine: where from.
        give_up_after: seconds of nothing but failures after which an endpoint is disabled.
        keep_days: for which events that ended are kept.
        lifetime: seconds after which an event is not tried any more.
    """

    def __init__(self, engine: AsyncEngine, give_up_after: float, keep_days: int, lifetime: float = LIFETIME) -> None:
        self._engine = engine
        self._give_up_after = give_up_after
        self._keep_days = keep_days
        self._lifetime = lifetime
        self._steps: dict[str, tuple[Callable[[], Awaitable[None]], float]] = {
            "given_up": (self._give_up, LOOK_EVERY),
            "expired": (self._expire, LOOK_EVERY),
            "old": (self._forget, TIDY_EVERY),
        }
        self._due = dict.fromkeys(self._steps, 0.0)

    async def run(self, stop: asyncio.Event) -> None:
        """Look and tidy until ``stop`` is set."""
        while not stop.is_set():
            await self.turn(time.monotonic())
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await stop.wait()
            except TimeoutError:
                continue

    async def turn(self, now: float) -> None:
        """Do what it is time for; what cannot be done now is done later."""
        for name, (step, every) in self._steps.items():
            if now < self._due[name]:
                continue
            try:
                await step()
            except Exception as error:  # noqa: BLE001 - nothing of this is worth that the webhooks stand still
                log.warning("webhooks.upkeep.failed", what=name, error=f"{type(error).__name__}: {error}")
            else:
                self._due[name] = now + every

    async def _give_up(self) -> None:
        async with driver_connect(self._engine) as connection:
            tell_given_up(await webhook_upkeep.give_up(connection, self._give_up_after))

    async def _expire(self) -> None:
        ended = AT_ONCE
        while ended == AT_ONCE:
            async with driver_connect(self._engine) as connection:
                ended = await webhook_upkeep.expire(connection, self._lifetime)
            if ended:
                metrics.record_end(WebhookState.FAILED, ended)
                log.warning("webhooks.events.expired", events=ended)

    async def _forget(self) -> None:
        gone = AT_ONCE
        while gone == AT_ONCE:
            async with driver_connect(self._engine) as connection:
                gone = await webhook_upkeep.forget(connection, self._keep_days)
        async with driver_connect(self._engine) as connection:
            await webhook_upkeep.forget_health(connection)
