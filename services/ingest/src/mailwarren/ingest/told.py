"""Telling the senders who is not to be written to any more: mail that was accepted before may still wait for them.

The lists are in Postgres, which holds new mail back from the moment of the commit. What is said here is for mail on its
way: a sender that does not hear of it sends it once more, so a broker that is away makes no call fail.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog

from mailwarren.contracts.events import Suppress
from mailwarren.ingest.adapters.broker import Broker
from mailwarren.ingest.metrics import record_untold
from mailwarren.runtime.amqp import PublishError

log = structlog.get_logger()


class Told:
    """Tells them, by way of the control log."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def suppressed(
        self, tenant: UUID, topic: UUID | None, addresses: Sequence[str], until: datetime | None = None
    ) -> None:
        """These get no mail, or none of a topic."""
        await self._tell(tenant, topic, addresses, until=until.timestamp() if until else None)

    async def wanted(self, tenant: UUID, topic: UUID | None, addresses: Sequence[str]) -> None:
        """These get it again."""
        await self._tell(tenant, topic, addresses, removed=True)

    async def _tell(
        self,
        tenant: UUID,
        topic: UUID | None,
        addresses: Sequence[str],
        *,
        until: float | None = None,
        removed: bool = False,
    ) -> None:
        if not addresses:
            return
        first, *more = addresses
        entry = Suppress(tenant, first, time.time(), topic=topic, until=until, removed=removed, more=tuple(more))
        try:
            await self._broker.publish_suppress(entry)
        except PublishError as error:
            record_untold(len(addresses))
            log.warning("ingest.suppressions.untold", tenant=str(tenant), addresses=len(addresses), error=str(error))
