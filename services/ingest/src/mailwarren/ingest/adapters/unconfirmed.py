"""Deliveries whose publish was not confirmed: kept here until the tracker has been told (PROTOCOL: ``unconfirmed``).

In memory only: when the process dies with reports unsent, the client has had its 503 all the same, and the mail is
either in its queue and recorded, or nowhere.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

import structlog

from mailwarren.contracts.events import Event, Kind, Outcomes
from mailwarren.contracts.ids import event_id
from mailwarren.contracts.parcel import Parcel
from mailwarren.ingest.adapters.broker import Broker
from mailwarren.ingest.metrics import record_unconfirmed
from mailwarren.runtime.amqp import PublishError

log = structlog.get_logger()

MOST = 50_000
"""Reports kept; a bulk call has at most 10,000. Beyond, the oldest are given up and counted."""
EVENTS = 200
"""In one message."""
EVERY = 1.0


class Unconfirmed:
    """The reports that wait."""

    def __init__(self, broker: Broker, most: int = MOST) -> None:
        self._broker = broker
        self._most = most
        self._waiting: dict[UUID, tuple[int, Event]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, parcel: Parcel) -> None:
        """The broker did not confirm this parcel. Suppressed deliveries are not sent, so nothing is open there."""
        now = time.time()
        for delivery in parcel.deliveries:
            if not delivery.suppressed:
                event = Event(
                    id=event_id(delivery.id, 0, Kind.UNCONFIRMED),
                    kind=Kind.UNCONFIRMED,
                    delivery=delivery.id,
                    email_id=delivery.email_id,
                    tenant=parcel.tenant,
                    lane=parcel.lane,
                    to=delivery.to,
                    at=now,
                    accepted_at=parcel.accepted_at,
                    reason="the broker did not confirm the acceptance",
                    trace=parcel.trace,
                )
                self._waiting[delivery.id] = (parcel.partition, event)
        dropped = max(0, len(self._waiting) - self._most)
        for ident in list(self._waiting)[:dropped]:
            del self._waiting[ident]
        record_unconfirmed(len(self._waiting), dropped)

    def settled(self, deliveries: Iterable[UUID]) -> None:
        """A repeat of the call was confirmed: the report would be wrong now."""
        if self._waiting:
            for ident in deliveries:
                self._waiting.pop(ident, None)
            record_unconfirmed(len(self._waiting))

    async def report(self) -> None:
        """Publish what waits; what is not confirmed waits on."""
        by_partition: dict[int, list[Event]] = defaultdict(list)
        for partition, event in self._waiting.values():
            by_partition[partition].append(event)
        for partition, events in by_partition.items():
            for start in range(0, len(events), EVENTS):
                await self._report(partition, events[start : start + EVENTS])
        record_unconfirmed(len(self._waiting))

    async def _report(self, partition: int, events: list[Event]) -> None:
        try:
            await self._broker.publish_outcomes(partition, Outcomes(tuple(events)))
        except PublishError as error:
            log.warning("ingest.unconfirmed.unreported", events=len(events), error=str(error))
            return
        for event in events:
            if (held := self._waiting.get(event.delivery)) and held[1] is event:
                del self._waiting[event.delivery]
        log.info("ingest.unconfirmed.reported", events=len(events), partition=partition)

    async def follow(self) -> None:
        """Report whenever something waits and the broker can be reached."""
        while True:
            await asyncio.sleep(EVERY)
            if self._waiting and self._broker.ready:
                await self.report()
