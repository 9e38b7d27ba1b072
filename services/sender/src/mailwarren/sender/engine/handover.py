"""Between Celery's consumer thread and the asyncio loop: messages over, verdicts back, acks only in the consumer's.

A channel of py-amqp belongs to one thread, so acks are queued and done in the consumer thread: one wake-up for those of
some milliseconds, and one ``basic.ack`` for all that are next in the order of the channel. Every broker connection is
an epoch: what came over an older one can no longer be acked, and must not be sent.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mailwarren.sender import metrics
from mailwarren.sender.incoming import Finish, Incoming

log = logging.getLogger(__name__)

ACK_GATHER = 0.005
"""Seconds that acks wait for company. Nothing is sent twice by it: the outcome is confirmed already."""

Work = Callable[[Incoming], Awaitable[Finish]]


@dataclass(slots=True)
class _Held:
    message: Any
    epoch: int
    released: asyncio.Future[bool] | None = None
    """Ends when the message is acked although its work goes on, or cannot be acked any more."""


class Handover:
    """The two ends of the crossing. Methods say which thread they belong to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._over: list[tuple[_Held, Incoming]] = []
        self._back: list[tuple[_Held, Finish]] = []
        self._consumer: Any = None
        self._flush_due = False
        """The consumer has been asked to flush and has not done so yet."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: Work | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connected_at = 0.0
        self._queues: dict[str | None, str] = {}
        self._unsettled: deque[int] = deque()
        """Delivery tags of this epoch in the order of the channel, until all before them are settled."""
        self._settled: set[int] = set()
        """Those of them that were settled out of order."""
        self.epoch = 0
        self.open = 0
        """Messages taken over and not yet acked or handed back."""
        self.stopping = False
        self.trouble: str | None = "the consumer has not connected to the broker yet"
        """Why the consumer takes no messages, in words for a person; None when it does."""

    # Either thread

    def connected_for(self) -> float:
        """Seconds since the consumer's last *re*connect; a first connection counts as long ago."""
        return time.monotonic() - self._connected_at if self.epoch > 1 else 3600.0

    @property
    def connected(self) -> bool:
        """The consumer has a broker connection."""
        return self._consumer is not None

    # The loop's thread

    def start(self, loop: asyncio.AbstractEventLoop, work: Work) -> None:
        """Messages go to ``work`` from now on."""
        self._loop, self._work = loop, work

    def _take(self) -> None:
        with self._lock:
            over, self._over = self._over, []
        assert self._loop is not None  # noqa: S101 - start() comes first
        for held, incoming in over:
            task = self._loop.create_task(self._run(held, incoming))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, held: _Held, incoming: Incoming) -> None:
        assert self._work is not None  # noqa: S101 - start() comes first
        try:
            finish = await self._work(incoming)
        except Exception:
            # Parking failed as well: the broker keeps the message and gives it to somebody else.
            log.exception("sender.message.error")
            finish = Finish.REQUEUE
        # A second ack, or a requeue after it, would make the broker close the channel.
        self._hand_back(held, finish if held.released is None else Finish.RELEASED)

    async def _release(self, held: _Held) -> bool:
        released: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        held.released = released
        with self._lock:
            if held.epoch != self.epoch:
                return False
            self.open += 1  # its work goes on, and a shutdown waits for that too
        self._hand_back(held, Finish.ACK)
        return await released

    def _tell_released(self, back: Iterable[tuple[_Held, Finish]], *, acked: bool) -> None:
        for held, finish in back:
            if held.released is not None and finish is Finish.ACK:
                assert self._loop is not None  # noqa: S101 - start() comes first
                self._loop.call_soon_threadsafe(_set, held.released, acked and held.epoch == self.epoch)

    def _hand_back(self, held: _Held, finish: Finish) -> None:
        with self._lock:
            self._back.append((held, finish))
            consumer = self._consumer
            wake = consumer is not None and not self._flush_due
            self._flush_due = self._flush_due or wake
        if wake:
            assert self._loop is not None  # noqa: S101 - start() comes first
            self._loop.call_later(ACK_GATHER, consumer.call_soon, self.flush)

    # The consumer's thread

    def attach(self, consumer: Any) -> None:
        """A broker connection is up: a new epoch."""
        with self._lock:
            self._begin_epoch(consumer)
            self._connected_at = time.monotonic()
        metrics.record_epoch(self.epoch)

    def lost(self) -> None:
        """The broker connection is gone: everything from it is stale from this moment."""
        with self._lock:
            self._begin_epoch(None)
        self.trouble = self.trouble or "the consumer lost its connection to the broker"

    def _begin_epoch(self, consumer: Any) -> None:
        """With the lock held. What has come back belongs to an older epoch, and so does a flush that is still due."""
        self.epoch += 1
        self._consumer = consumer
        self._flush_due = False
        self.open -= len(self._back)
        self._tell_released(self._back, acked=False)
        self._back.clear()
        self._unsettled.clear()
        self._settled.clear()

    def submit(self, message: Any) -> None:
        """Hand a message over to the loop."""
        epoch = self.epoch
        info = message.delivery_info
        body = message.body
        held = _Held(message, epoch)
        incoming = Incoming(
            body=body.encode("utf-8", "surrogateescape") if isinstance(body, str) else bytes(body),
            headers=message.headers or {},
            queue=self._queue_of(info.get("consumer_tag")),
            key=str(info.get("routing_key") or ""),
            redelivered=bool(info.get("redelivered")),
            owned=lambda: self.epoch == epoch,
            stopping=lambda: self.stopping,
            release=lambda: self._release(held),
        )
        with self._lock:
            self._over.append((held, incoming))
            self.open += 1
            self._unsettled.append(message.delivery_tag)
            wake = len(self._over) == 1
        if wake and self._loop is not None:
            self._loop.call_soon_threadsafe(self._take)

    def _queue_of(self, tag: str | None) -> str:
        """The queue of a delivery: AMQP says only which consumer it is for."""
        if tag not in self._queues and self._consumer is not None and self._consumer.task_consumer is not None:
            tags = self._consumer.task_consumer._active_tags  # noqa: SLF001 - kombu shows them nowhere else
            self._queues = {consumer_tag: queue for queue, consumer_tag in tags.items()}
        return self._queues.get(tag, "")

    def flush(self) -> None:
        """Ack and hand back what the loop has finished with."""
        with self._lock:
            back, self._back = self._back, []
            self._flush_due = False
            self.open -= len(back)
            consumer, epoch = self._consumer, self.epoch
        if consumer is None:
            self._tell_released(back, acked=False)
            return
        errors = consumer.connection_errors
        acks: dict[int, Any] = {}
        for held, finish in back:
            if held.epoch != epoch or finish in (Finish.STALE, Finish.RELEASED):
                continue
            if finish is Finish.ACK:
                acks[held.message.delivery_tag] = held.message
            else:
                held.message.reject_log_error(log, errors, requeue=True)
                self._settled.add(held.message.delivery_tag)
        self._ack(acks, errors)
        self._tell_released(back, acked=True)

    def _ack(self, acks: dict[int, Any], errors: tuple[type[BaseException], ...]) -> None:
        first: list[Any] = []
        unsettled, settled = self._unsettled, self._settled
        while unsettled and (unsettled[0] in acks or unsettled[0] in settled):
            tag = unsettled.popleft()
            settled.discard(tag)
            if tag in acks:
                first.append(acks.pop(tag))
        if first:
            first[-1].ack_log_error(log, errors, multiple=len(first) > 1)
        for tag, message in acks.items():
            message.ack_log_error(log, errors)
            settled.add(tag)


def _set(released: asyncio.Future[bool], acked: bool) -> None:  # noqa: FBT001 - call_soon gives no names
    if not released.done():
        released.set_result(acked)
