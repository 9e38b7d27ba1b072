"""Publishing (DESIGN §4, stop 5): parcels to ``mail.accept``, and what the broker said of each.

Publishes of all requests run side by side and share the broker's rounds of confirms. A single request has a bounded
number of them in flight, so that a bulk call cannot starve single mails.
"""

import asyncio
import time
from collections.abc import Sequence
from enum import StrEnum
from uuid import UUID

import structlog

from mailwarren.contracts.codec import encode, encode_parcel, headers_of, parcel_headers
from mailwarren.contracts.events import Cancel, Outcomes
from mailwarren.contracts.parcel import Content, Parcel
from mailwarren.contracts.routing import partition_key
from mailwarren.contracts.topology import Topology
from mailwarren.ingest.domain.refusal import unavailable
from mailwarren.ingest.metrics import record_publish
from mailwarren.runtime.amqp import Nacked, NotConnected, Publisher, PublishError, Unknown, Unroutable

log = structlog.get_logger()

TOPOLOGY_HINT = "run: mailwarren topology apply"
WINDOW = 200
"""Parcels of one request in flight at most."""
WINDOW_BYTES = 16 * 1024 * 1024
"""Bytes of content in flight for one request, about."""


class Said(StrEnum):
    """What became of a publish."""

    CONFIRMED = "confirmed"
    """Durable in its send queue and the tracker's."""
    NOT_STORED = "not_stored"
    """Certainly nowhere: no connection, or not tried any more."""
    UNROUTABLE = "unroutable"
    """Certainly nowhere: no queue has the key."""
    UNCONFIRMED = "unconfirmed"
    """Refused by a queue while another may hold a copy, or the confirm was lost."""


class Broker:
    """Publishes what ingest has to say."""

    def __init__(self, publisher: Publisher, topology: Topology) -> None:
        self._publisher = publisher
        self._accept = topology.accept.name
        self._events = topology.events.name
        self._control_log = topology.control_log.name

    @property
    def ready(self) -> bool:
        """A publish would be tried now."""
        return self._publisher.ready

    async def publish(self, parcels: Sequence[Parcel], within: float | None = None) -> list[Said]:
        """Publish parcels; one word for each, in their order.

        Args:
            parcels: of one request.
            within: seconds after which none is started any more.
        """
        if len(parcels) == 1:
            return [await self._publish(parcels[0])]
        said = [Said.NOT_STORED] * len(parcels)
        turns = iter(enumerate(parcels))
        deadline = time.monotonic() + within if within is not None else None

        async def work() -> None:
            for index, parcel in turns:
                if deadline is not None and time.monotonic() > deadline:
                    return
                said[index] = await self._publish(parcel)

        size = max(_size(parcel.content) for parcel in parcels)
        workers = max(1, min(WINDOW, WINDOW_BYTES // (size + 1), len(parcels)))
        await asyncio.gather(*(work() for _ in range(workers)))
        return said

    async def _publish(self, parcel: Parcel) -> Said:
        key = f"{parcel.lane}.{parcel.shard}"
        said = Said.CONFIRMED
        try:
            await self._publisher.publish(self._accept, key, encode_parcel(parcel), parcel_headers(parcel))
        except NotConnected:
            said = Said.NOT_STORED
        except Unroutable as error:
            said = Said.UNROUTABLE
            log.critical("ingest.publish.unroutable", parcel=str(parcel.id), error=str(error), hint=TOPOLOGY_HINT)
        except (Nacked, Unknown) as error:
            said = Said.UNCONFIRMED
            log.warning("ingest.publish.unconfirmed", key=key, parcel=str(parcel.id), error=str(error))
        record_publish(said)
        return said

    async def publish_outcomes(self, partition: int, outcomes: Outcomes) -> None:
        """Tell the tracker.

        Raises:
            PublishError: it may not know.
        """
        body, headers = encode(outcomes), headers_of(outcomes)
        await self._publisher.publish(self._events, partition_key(partition), body, headers)

    async def publish_cancel(self, partition: int, email_id: UUID, tenant: UUID) -> None:
        """Withdraw an email: to every sender, and to the tracker.

        Raises:
            Refusal: 503, the cancel may not have arrived.
        """
        cancel = Cancel(email_id, tenant, time.time())
        try:
            await self._publisher.publish(
                self._control_log, partition_key(partition), encode(cancel), headers_of(cancel)
            )
        except PublishError as error:
            raise unavailable("The broker did not confirm the cancellation: try again.") from error


def _size(content: Content) -> int:
    return len(content.html or "") + len(content.text or "")
