"""Telling the senders from a worker, over a connection that is made when there is something to tell."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Self
from uuid import UUID

from mailwarren.contracts.topology import Topology
from mailwarren.ingest.adapters.broker import Broker
from mailwarren.ingest.domain.topics import Moved
from mailwarren.ingest.settings import OpsSettings
from mailwarren.ingest.told import Told
from mailwarren.runtime.amqp import Link, Publisher

CONNECT_WITHIN = 5.0
"""Seconds for the broker, once; what it does not take is counted and logged, as in the API."""


class Telling:
    """Open for as long as an order takes.

    Args:
        settings: where the broker is.
    """

    def __init__(self, settings: OpsSettings) -> None:
        self._settings = settings
        self._open = contextlib.AsyncExitStack()
        self._told: Told | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def tell(self, tenant: UUID, moved: Sequence[Moved]) -> None:
        """Say who has left lists and who is back; after the commit, and one call after the other."""
        if not any(one.gone or one.back for one in moved):
            return
        told = await self._connected()
        # Side by side: a hundred topics wait no longer for a broker that does not answer than one.
        await asyncio.gather(
            *(told.suppressed(tenant, one.topic, one.gone) for one in moved),
            *(told.wanted(tenant, one.topic, one.back) for one in moved),
        )

    async def _connected(self) -> Told:
        if self._told is None:
            settings = self._settings
            link = Link(settings.amqp_url.get_secret_value(), "worker")
            broker = Broker(Publisher(link), Topology(settings.amqp_prefix, settings.retry_scale))
            await self._open.enter_async_context(link)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CONNECT_WITHIN):
                    await link.wait_up()
            self._told = Told(broker)
        return self._told
