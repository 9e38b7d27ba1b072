"""Publishing (DESIGN §4, stop 5): parcels to ``mail.accept``, and what the broker said of each.

Publishes of all requests run side by side and share the broker's rounds of confirms. A single request has a bounded
number of them in flight, so that a bulk call cannot starve single mails.
"""

import asyncio
import itertools
import math
import time
from collections.abc import Iterable
from enum import StrEnum
from uuid import UUID

import structlog
from msgspec.structs import replace

from mailwarren.contracts.codec import encode, encode_order, encode_parcel, headers_of, order_headers, parcel_headers
from mailwarren.contracts.events import Cancel, CancelBroadcast, Outcomes, Suppress
from mailwarren.contracts.order import Order
from mailwarren.contracts.parcel import Content, Parcel
from mailwarren.contracts.routing import partition_key
from mailwarren.contracts.shaping import SHAPING_KEY, Override, OverrideEnd
from mailwarren.contracts.topology import OPS_KEY, Topology
from mailwarren.contracts.tracking import Hits
from mailwarren.ingest.domain.parcels import PlannedParcel
from mailwarren.ingest.domain.refusal import unavailable
from mailwarren.ingest.metrics import record_publish
from mailwarren.runtime import tracing
from mailwarren.runtime.amqp import Nacked, NotConnected, Publisher, PublishError, Unknown, Unroutable

log = structlog.get_logger()

TOPOLOGY_HINT = "run: mailwarren topology apply"
BROADCAST_KEY = "broadcast"
"""The routing key of cancels of broadcasts in the control log, which the stream alone is bound to."""
SUPPRESS_KEY = "suppress"
"""The routing key of suppressions in the control log, which the stream alone is bound to."""
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
        self._ops_tasks = topology.ops_tasks.name

    @property
    def ready(self) -> bool:
        """A publish would be tried now."""
        return self._publisher.ready

    async def publish(
        self, planned: Iterable[PlannedParcel], within: float | None = None
    ) -> list[tuple[PlannedParcel, Said]]:
        """Publish the parcels of one request; each with what the broker said, in their order.

        Args:
            planned: built while it is iterated, between the publishes, so that no other request waits for all of it.
            within: seconds after which no publish is started any more.
        """
        items = iter(planned)
        head = list(itertools.islice(items, 2))
        if len(head) == 1:
            return [(head[0], await self._publish(head[0].parcel))]
        deadline = math.inf if within is None else time.monotonic() + within
        done: list[tuple[PlannedParcel, Said | asyncio.Task[Said]]] = []
        window: asyncio.Semaphore | None = None
        async with asyncio.TaskGroup() as tasks:
            for item in itertools.chain(head, items):
                window = window or asyncio.Semaphore(_window(item.parcel.content))
                await window.acquire()
                if time.monotonic() > deadline:
                    window.release()
                    done.append((item, Said.NOT_STORED))
                    continue
                task = tasks.create_task(self._publish(item.parcel))
                task.add_done_callback(lambda _, window=window: window.release())  # type: ignore[misc]  # bound early
                done.append((item, task))
                await asyncio.sleep(0)
        return [(item, said.result() if isinstance(said, asyncio.Task) else said) for item, said in done]

    async def _publish(self, parcel: Parcel) -> Said:
        with tracing.span("mail.accept publish", parcel.trace, "producer") as span:
            if span.traceparent != parcel.trace:
                _describe(span, parcel, self._accept)
                parcel = replace(parcel, trace=span.traceparent)
            said = await self._publish_traced(parcel)
            if said is not Said.CONFIRMED:
                span.fail(said)
        record_publish(said)
        return said

    async def _publish_traced(self, parcel: Parcel) -> Said:
        key = f"{parcel.lane}.{parcel.shard}"
        said = Said.CONFIRMED
        try:
            await self._publisher.publish(self._accept, key, encode_parcel(parcel), parcel_headers(parcel))
        except NotConnected:
            said = Said.NOT_STORED
        except Unroutable as error:
            said = Said.UNROUTABLE
            log.critical("ingest.publish.unroutable", parcel_id=str(parcel.id), error=str(error), hint=TOPOLOGY_HINT)
        except (Nacked, Unknown) as error:
            said = Said.UNCONFIRMED
            log.warning("ingest.publish.unconfirmed", key=key, parcel_id=str(parcel.id), error=str(error))
        return said

    async def publish_outcomes(self, partition: int, outcomes: Outcomes) -> None:
        """Tell the tracker.

        Raises:
            PublishError: it may not know.
        """
        body, headers = encode(outcomes), headers_of(outcomes)
        await self._publisher.publish(self._events, partition_key(partition), body, headers)

    async def publish_hits(self, partition: int, hits: Hits) -> None:
        """Tell the tracker of opens and clicks, in the partition of their mails' other events.

        Raises:
            PublishError: it may not know.
        """
        await self._publisher.publish(self._events, partition_key(partition), encode(hits), headers_of(hits))

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

    async def publish_broadcast_cancel(self, broadcast: UUID, tenant: UUID) -> None:
        """Tell every sender that nothing more of a broadcast is to be sent.

        Raises:
            PublishError: they may not know.
        """
        entry = CancelBroadcast(broadcast, tenant, time.time())
        await self._publisher.publish(self._control_log, BROADCAST_KEY, encode(entry), headers_of(entry))

    async def publish_suppress(self, entry: Suppress) -> None:
        """Tell every sender who is on a list now, or no longer.

        Raises:
            PublishError: they may not know.
        """
        await self._publisher.publish(self._control_log, SUPPRESS_KEY, encode(entry), headers_of(entry))

    async def publish_order(self, order: Order) -> None:
        """Give a worker something to do.

        Raises:
            PublishError: none may have it.
        """
        await self._publisher.publish(self._ops_tasks, OPS_KEY, encode_order(order), order_headers(order))

    async def publish_shaping(self, entry: Override | OverrideEnd) -> None:
        """Tell every sender, and the tracker, what holds or ends.

        Raises:
            Refusal: 503, it may not have arrived.
        """
        try:
            await self._publisher.publish(self._control_log, SHAPING_KEY, encode(entry), headers_of(entry))
        except PublishError as error:
            raise unavailable("The broker did not confirm it: try again.") from error


def _describe(span: tracing.Span, parcel: Parcel, exchange: str) -> None:
    span.tell(
        messaging__system="rabbitmq",
        messaging__operation__type="send",
        messaging__destination__name=exchange,
        messaging__batch__message_count=len(parcel.deliveries),
        mailwarren__parcel_id=str(parcel.id),
        mailwarren__lane=str(parcel.lane),
    )


def _window(content: Content) -> int:
    size = len(content.html or "") + len(content.text or "")
    return max(1, min(WINDOW, WINDOW_BYTES // (size + 1)))
